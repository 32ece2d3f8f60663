"""Pictures of any kind become upright RGB of one size, without distortion, with masks that stay on their damage."""

import io
import math

import numpy as np
import pytest
from pictures import deep_png, png, save, speckled
from PIL import Image, ImageDraw

from cardsynth.cards.dataset import read_cards
from cardsynth.cards.fitting import fit_image, read_image, unfit
from cardsynth.cards.folder import CardError

SIZE = (24, 16)


def disc(size: tuple[int, int], background: str = "grey") -> Image.Image:
    """A black disc amid a picture of (height, width), its diameter half of the shorter side."""
    height, width = size
    image = Image.new("RGB", (width, height), background)
    radius = min(size) / 4
    centre = (width / 2, height / 2)
    ImageDraw.Draw(image).ellipse([c - radius for c in centre] + [c + radius for c in centre], fill="black")
    return image


def extent(dark: np.ndarray) -> tuple[int, int]:
    """Height and width of what is set."""
    rows, columns = np.nonzero(dark)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def at(array: np.ndarray, corner: tuple[int, int]) -> tuple[int, ...]:
    return tuple(int(value) for value in np.atleast_1d(array[corner]))


# Fitting without distortion


@pytest.mark.parametrize("shape", [(200, 100), (200, 190), (320, 160)])
def test_crop_and_pad_keep_a_disc_round_and_stretch_does_not(shape):
    dark = {fit: fit_image(disc(shape), (96, 64), fit).sum(axis=2) < 150 for fit in ("crop", "pad", "stretch")}
    for fit in ("crop", "pad"):
        height, width = extent(dark[fit])
        assert abs(height - width) <= 1
        assert dark[fit].sum() == pytest.approx(math.pi / 4 * height * width, rel=0.08)
    height, width = extent(dark["stretch"])
    assert height / width == pytest.approx(96 / 64 * shape[1] / shape[0], rel=0.08)
    assert abs(height - width) > 5


def test_crop_covers_and_pad_shows_all():
    wide = Image.new("RGB", (60, 60), "red")
    ImageDraw.Draw(wide).rectangle((20, 0, 39, 59), fill="blue")
    cropped, padded = (fit_image(wide, (60, 20), fit) for fit in ("crop", "pad"))
    assert (cropped == (0, 0, 255)).all()
    assert at(padded, (0, 10)) == at(padded, (59, 10)) == (255, 255, 255)
    assert at(padded, (30, 1)) == (255, 0, 0)
    assert at(padded, (30, 10)) == (0, 0, 255)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(310, 170), (170, 310), (200, 200), (20, 12)])
def test_masks_stay_binary_and_on_their_damage(fit, shape):
    height, width = shape
    image, mask = Image.new("RGB", (width, height), "white"), Image.new("L", (width, height))
    for picture, ink in ((image, "black"), (mask, 255)):
        ImageDraw.Draw(picture).polygon(
            [(width * 0.35, height * 0.3), (width * 0.7, height * 0.4), (width * 0.45, height * 0.6)], fill=ink
        )
    pixels = fit_image(image, (80, 64), fit)[..., 0]
    fitted = fit_image(mask, (80, 64), fit, is_mask=True)
    assert set(np.unique(fitted)) == {0, 255}
    damage = pixels < 128
    overlap = (damage & (fitted > 0)).sum() / (damage | (fitted > 0)).sum()
    assert overlap > 0.9


def test_padding_is_white_and_undamaged():
    image, mask = Image.new("RGB", (10, 40), "black"), Image.new("L", (10, 40), 255)
    assert at(fit_image(image, (40, 40), "pad"), (0, 0)) == (255, 255, 255)
    assert at(fit_image(mask, (40, 40), "pad", is_mask=True), (0, 0)) == (0,)


def test_landscape_is_turned_with_its_mask(tmp_path):
    """A quarter turn anticlockwise brings the upper right corner to the upper left."""
    image, mask = Image.new("RGB", (24, 16), "white"), Image.new("L", (24, 16))
    for picture, ink in ((image, "red"), (mask, 255)):
        ImageDraw.Draw(picture).rectangle((18, 0, 23, 3), fill=ink)
    for seed in range(2):
        save(image, tmp_path / f"{seed}.png")
        save(mask, tmp_path / f"masks/{seed}.png")
    turned = read_cards(tmp_path, (24, 16)).pixels[0].numpy()
    assert (turned[:3, :6, :4].reshape(3, -1).T == (255, 0, 0)).all()
    assert turned[1].sum() == 255 * (24 * 16 - 24)
    assert np.array_equal(turned[3], 255 - turned[1])
    lying = read_cards(tmp_path, (16, 24)).pixels[0].numpy()
    assert np.array_equal(lying[:3].transpose(1, 2, 0), np.asarray(image))
    kept = read_cards(tmp_path, (24, 16), portrait=False).pixels[0].numpy()
    assert kept[1].min() > 200  # cover-cropped about the centre: the corner is gone


# How the pixels of an upright picture lie in a file of each EXIF orientation
TURN = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", TURN)
@pytest.mark.parametrize("mask_is_turned", [True, False])
def test_exif_orientation_is_applied_with_the_mask(tmp_path, orientation, mask_is_turned):
    """As cameras store it: the pixels lie turned, and a tag says so; a mask is stored alike, or upright."""
    upright, mask = Image.new("RGB", (32, 48), "white"), Image.new("L", (32, 48))
    ImageDraw.Draw(upright).rectangle((0, 0, 15, 7), fill="black")
    ImageDraw.Draw(mask).rectangle((0, 0, 15, 7), fill=255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored, stored_mask = (
        image if TURN[orientation] is None else image.transpose(TURN[orientation]) for image in (upright, mask)
    )
    for seed in range(2):
        save(stored, tmp_path / f"{seed}.jpg", exif=exif, quality=95)
        if mask_is_turned:
            save(stored_mask, tmp_path / f"masks/{seed}.png", exif=exif)
        else:
            save(mask, tmp_path / f"masks/{seed}.png")
    pixels = read_cards(tmp_path, (48, 32)).pixels[0].numpy().astype(int)
    expected = np.asarray(upright).transpose(2, 0, 1).astype(int)
    assert np.abs(pixels[:3] - expected).max() < 40
    assert np.array_equal(pixels[3], np.asarray(mask))


# Modes


def test_16_bits_are_scaled(tmp_path):
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    for name in ("grey.png", "grey.tif"):
        grey = np.asarray(read_image(save(Image.fromarray(values), tmp_path / name)))
        assert grey[0, :, 0].tolist() == [0, 1, 128, 255]
    (tmp_path / "rgb.png").write_bytes(deep_png(128 * 257))
    rgb = np.asarray(read_image(tmp_path / "rgb.png"))
    assert at(rgb, (0, 0)) == (0, 0, 0)
    assert at(rgb, (5, 5)) == (128, 128, 128)


def test_cmyk_and_palette_keep_their_colours(tmp_path):
    red = Image.new("RGB", (8, 8), (220, 30, 40))
    for image, name in ((red.convert("CMYK"), "a.tif"), (red.convert("CMYK"), "a.jpg"), (red.quantize(), "a.png")):
        read = read_image(save(image, tmp_path / name))
        assert read.mode == "RGB"
        assert np.abs(np.asarray(read).astype(int) - (220, 30, 40)).max() <= 3


def test_transparency_is_laid_on_white(tmp_path):
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.putpixel((2, 0), (100, 0, 200, 128))
    read = np.asarray(read_image(save(image, tmp_path / "a.png")))
    assert read[0].tolist()[:2] == [[0, 0, 0], [255, 255, 255]]
    assert np.abs(read[0, 2].astype(int) - (177, 127, 227)).max() <= 1
    grey = Image.new("LA", (1, 1), (0, 0))
    assert at(np.asarray(read_image(save(grey, tmp_path / "b.png"))), (0, 0)) == (255, 255, 255)
    keyed = Image.new("P", (2, 1), 1)
    keyed.putpalette([9, 9, 9, 60, 70, 80])
    keyed.putpixel((0, 0), 0)
    read = np.asarray(read_image(save(keyed, tmp_path / "c.png", transparency=0)))
    assert read[0].tolist() == [[255, 255, 255], [60, 70, 80]]


@pytest.mark.parametrize("form", ["gif", "png", "webp", "tif"])
def test_the_first_frame_is_read(tmp_path, form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if form == "webp" else {}
    path = save(frames[0], tmp_path / f"a.{form}", save_all=True, append_images=frames[1:], **options)
    assert Image.open(path).n_frames == 2
    assert at(np.asarray(read_image(path)), (4, 4)) == (255, 0, 0)


def test_an_undecodable_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(png(speckled(0))[:200])
    for file in (tmp_path / "a.png", tmp_path / "b.png"):
        with pytest.raises(CardError, match=file.name):
            read_image(file)
    with pytest.raises(CardError, match="row 7"):
        read_image(io.BytesIO(b"nothing"), "row 7")


# Maps laid back on the picture


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(200, 100), (150, 150), (90, 180), (24, 16), (37, 41)])
def test_a_map_of_a_fitted_picture_lies_where_its_damage_lies_on_the_picture(fit, shape):
    picture = disc(shape, "white")
    fitted = fit_image(picture, (96, 64), fit)
    seen = unfit((fitted.sum(axis=2) < 380).astype(np.float32)[None], shape, fit)
    assert seen.shape == (1, *shape)
    dark = np.asarray(picture).sum(axis=2) < 380
    found = seen[0] > 0.5
    assert (found & dark).sum() / (found | dark).sum() > 0.85


def test_a_map_of_the_picture_s_own_size_comes_back_unchanged():
    values = np.random.default_rng(0).random((2, 24, 16), np.float32)
    for fit in ("crop", "pad", "stretch"):
        assert np.array_equal(unfit(values, (24, 16), fit), values)
    turned = unfit(values, (16, 24), "crop")
    assert np.array_equal(np.rot90(turned, 1, axes=(1, 2)), values)
