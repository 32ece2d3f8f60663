"""Captioned pictures: fitted without distortion into buckets of one area, encoded once, batches of one bucket."""

import io
from collections import Counter

import numpy as np
import pytest
import torch
from pictures import save, speckled, write_rows
from PIL import Image

from cardsynth.cards.folder import CardError
from cardsynth.text import data as text_data
from cardsynth.text.data import (
    batch_at,
    choose_bucket,
    encode_captions,
    encode_pictures,
    epoch_batches,
    make_buckets,
    read_captioned,
)
from cardsynth.text.model import native_side, open_base, pixel_multiple


@pytest.fixture(scope="module")
def pipeline(stable_diffusion):
    return open_base(stable_diffusion)


def test_buckets_of_1_5_keep_the_area_and_take_a_card_nearly_whole():
    buckets = make_buckets(512, 64)
    assert (512, 512) in buckets
    assert {(width, height) for height, width in buckets} == set(buckets)
    for height, width in buckets:
        assert height % 64 == width % 64 == 0
        assert abs(height * width / 512**2 - 1) <= 1 / 8
    assert choose_bucket((350, 250), buckets) == (640, 448)
    assert choose_bucket((250, 350), buckets) == (448, 640)
    assert choose_bucket((99, 100), buckets) == (512, 512)
    with pytest.raises(ValueError, match="multiples of 64"):
        make_buckets(24, 64)


def test_pictures_of_all_kinds_are_fitted_without_distortion(pipeline, tmp_path):
    """A disc stays a disc: as wide as high, in every bucket, from every format."""
    shapes = {"tall.png": (110, 60), "wide.webp": (60, 110), "grey.jpg": (70, 70), "turned.jpg": (60, 110)}
    for name, (height, width) in shapes.items():
        y, x = np.mgrid[:height, :width]
        disc = np.hypot(y - height / 2 + 0.5, x - width / 2 + 0.5) < 24
        image = Image.fromarray(np.where(disc, 0, 200).astype(np.uint8))
        options = {}
        if name == "turned.jpg":
            options["exif"] = Image.Exif()
            options["exif"][0x0112] = 6  # it is seen a quarter turned
        save(image if name == "grey.jpg" else image.convert("RGB"), tmp_path / name, **options)
    write_rows(tmp_path, *({"file_name": name, "text": f"a card {name[0]}"} for name in shapes))
    pictures = read_captioned(tmp_path, pipeline)
    assert (native_side(pipeline), pixel_multiple(pipeline)) == (32, 8)
    assert dict(zip(pictures.names, pictures.buckets, strict=True)) == {
        "grey.jpg": (32, 32), "tall.png": (48, 24), "turned.jpg": (48, 24), "wide.webp": (24, 48)
    }  # fmt: skip
    for index, bucket in enumerate(pictures.buckets):
        pixels = pictures.pixels(index)
        assert pixels.shape == (3, *bucket)
        dark = pixels.float().mean(0) < 100
        assert abs(int(dark.any(0).sum()) - int(dark.any(1).sum())) <= 1
    assert pictures.enlarged == 0
    assert 0.05 < pictures.cropped < 0.1
    padded = read_captioned(tmp_path, pipeline, fit="pad")
    assert (padded.pixels(1)[:, 0] > 240).all()
    assert (pictures.pixels(1)[:, 0] < 240).all()
    assert "2" in pictures.text()
    assert padded.fingerprint != pictures.fingerprint


def test_only_what_is_new_is_encoded(pipeline, tmp_path, monkeypatch):
    for number in range(3):
        save(speckled(number, (40, 24)), tmp_path / f"{number}.png")
    write_rows(tmp_path, *({"file_name": f"{n}.png", "text": f"card {'abc'[n]}"} for n in range(3)))
    monkeypatch.setenv("CARDSYNTH_CACHE", str(tmp_path / "cache"))
    device, encoded = torch.device("cpu"), []
    usual = pipeline.vae.encode
    monkeypatch.setattr(pipeline.vae, "encode", lambda images: encoded.append(len(images)) or usual(images))
    pictures = read_captioned(tmp_path, pipeline)
    first = encode_pictures(pipeline, pictures, device)
    assert len(encoded) == 3
    assert first[0].shape == (2, 4, 20, 12)
    assert (first[0][1] > 0).all()
    found = usual(text_data.normalize(pictures.pixels(1)[None])).latent_dist
    assert torch.equal(first[1][0], found.mean[0] * pipeline.vae.config.scaling_factor)
    again = encode_pictures(pipeline, pictures, device)
    assert len(encoded) == 3
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    save(speckled(9, (40, 24)), tmp_path / "1.png")
    encode_pictures(pipeline, read_captioned(tmp_path, pipeline), device)
    assert len(encoded) == 4
    next((tmp_path / "cache/text").glob("*")).write_bytes(b"cut short")
    captions = encode_captions(pipeline, pictures.captions, device)
    assert len(captions) == 3
    cached = encode_captions(pipeline, pictures.captions, device)
    assert all(torch.equal(captions[text]["prompt_embeds"], cached[text]["prompt_embeds"]) for text in captions)
    assert not torch.equal(captions["card a"]["prompt_embeds"], captions["card b"]["prompt_embeds"])


def test_batches_are_of_one_bucket_and_a_pass_has_each_picture_once():
    buckets = tuple([(40, 24)] * 10 + [(32, 32)] * 5 + [(24, 40)])
    for epoch in range(3):
        batches = epoch_batches(7, epoch, buckets, 4)
        assert Counter(index for batch in batches for index in batch) == Counter(range(16))
        assert all(len({buckets[index] for index in batch}) == 1 for batch in batches)
        assert sorted(map(len, batches)) == [1, 2, 3, 3, 3, 4]
    assert epoch_batches(7, 0, buckets, 4) != epoch_batches(7, 1, buckets, 4)
    assert [batch_at(7, index, buckets, 4) for index in range(6, 12)] == epoch_batches(7, 1, buckets, 4)


def test_pictures_out_of_a_data_set_are_read_twice(pipeline, captioned):
    """Those of the Hub come as bytes, of which the header is read first and the picture later."""
    pictures = read_captioned(captioned, pipeline)
    as_bytes = io.BytesIO(pictures.files[0].read_bytes())
    same = text_data.CaptionedPictures(
        ("a",), ("a",), (as_bytes,), pictures.digests[:1], pictures.buckets[:1], "crop", "", 0, 0
    )  # fmt: skip
    assert text_data._size_of(as_bytes, "x") == (40, 24)
    assert torch.equal(same.pixels(0), pictures.pixels(0))


def test_a_broken_picture_is_named(pipeline, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    write_rows(tmp_path, {"file_name": "a.png", "text": "a card"})
    with pytest.raises(CardError, match=r"a\.png is empty, damaged or no picture"):
        read_captioned(tmp_path, pipeline)
