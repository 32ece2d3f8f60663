"""Cards in memory: every shape of folder is read, bad cards are named, tensors and pictures are inverse."""

import io

import numpy as np
import pytest
import torch
from datasets import Image as ImageFeature
from pictures import save, speckled, spot, write_rows
from PIL import Image

from cardsynth.cards.dataset import Cards, balance_report, denormalize, normalize, read_cards
from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardError
from cardsynth.cards.hub_rows import open_cards

SIZE = (24, 16)


# Reading every shape of folder


def metadata_jsonl(folder):
    rows = [("x.png", "SMALL", 0), ("y.png", "LIGHT", 1)]
    for name, _, seed in rows:
        save(speckled(seed), folder / name)
        save(spot(), folder / "m" / name)
    write_rows(folder, *({"file_name": n, "mask_file_name": f"m/{n}", "label": label} for n, label, _ in rows))


def metadata_csv(folder):
    save(speckled(0), folder / "x.png")
    save(speckled(1), folder / "y.png")
    (folder / "metadata.csv").write_text('file_name,text\ny.png,"blue, with a star"\nx.png,a red card\n')


def class_folders(folder):
    for seed, name in enumerate(("SMALL/x.png", "LIGHT/y.png")):
        save(speckled(seed), folder / name)
        save(speckled(seed), folder / "ALL_GUM_STAIN_CARDS" / name[-5:])


def flat(folder):
    save(speckled(0), folder / "x.png")
    save(speckled(1), folder / "y.png")


def with_masks(prefix):
    def make(folder):
        for seed, name in enumerate(("SMALL/x.png", "LIGHT/y.png")):
            save(speckled(seed), folder / f"{prefix}{name}")
            save(spot(), folder / "masks" / name)

    return make


def train_folder(folder):
    class_folders(folder / "train")


# Seeds in the order of the names, labels, masks
SHAPES = {
    "metadata.jsonl": (metadata_jsonl, [0, 1], ["SMALL", "LIGHT"], True),
    "metadata.csv": (metadata_csv, [0, 1], [], False),
    "class folders": (class_folders, [1, 0], ["LIGHT", "SMALL"], False),
    "flat": (flat, [0, 1], [], False),
    "images and masks": (with_masks("images/"), [1, 0], ["LIGHT", "SMALL"], True),
    "classes and masks": (with_masks(""), [1, 0], ["LIGHT", "SMALL"], True),
    "train": (train_folder, [1, 0], ["LIGHT", "SMALL"], False),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_folder_is_read(tmp_path, shape):
    make, seeds, labels, masks = SHAPES[shape]
    make(tmp_path)
    cards = read_cards(tmp_path, SIZE)
    assert cards.pixels.dtype == torch.uint8
    assert cards.pixels.shape == (2, 3 + masks, *SIZE)
    for pixels, seed in zip(cards.pixels.numpy(), seeds, strict=True):
        assert np.array_equal(pixels[:3].transpose(1, 2, 0), np.asarray(speckled(seed)))
        assert not masks or np.array_equal(pixels[3], np.asarray(spot()))
    assert [cards.label_names[label] for label in cards.labels if labels] == labels
    assert cards.label_names == tuple(sorted(labels))
    assert cards.class_counts == dict.fromkeys(sorted(labels), 1)
    assert cards.has_mask is masks
    assert (len(cards), cards.size, cards.skipped) == (2, SIZE, ())


def test_captions_are_kept_undecoded_pictures_too(tmp_path):
    metadata_csv(tmp_path)
    rows = open_cards(tmp_path)
    assert rows["text"][:] == ["a red card", "blue, with a star"]
    assert rows["file_name"][:] == ["x.png", "y.png"]
    assert rows.features["image"] == ImageFeature(decode=False)


def test_what_is_no_folder_of_cards(tmp_path):
    with pytest.raises(CardError, match="no pictures"):
        read_cards(tmp_path, SIZE)
    with pytest.raises(CardError, match="check the path"):
        read_cards(tmp_path / "no" / "where at all", SIZE)
    with pytest.raises(CardError, match="check the path"):
        read_cards(save(speckled(0), tmp_path / "a.png"), SIZE)
    with pytest.raises(CardError, match="1 usable cards; at least two"):
        read_cards(tmp_path, SIZE)


def test_choosing_classes_masks_and_labels(tmp_path):
    metadata_jsonl(tmp_path)
    save(speckled(2), tmp_path / "z.png")
    save(spot(), tmp_path / "m/z.png")
    with (tmp_path / "metadata.jsonl").open("a") as rows:
        rows.write('{"file_name": "z.png", "mask_file_name": "m/z.png", "label": "SMALL"}\n')
    small = read_cards(tmp_path, SIZE, only_labels=("SMALL",))
    assert (small.names, small.label_names) == (("x.png", "z.png"), ("SMALL",))
    assert read_cards(tmp_path, SIZE, use_masks=False).pixels.shape == (3, 3, *SIZE)
    assert read_cards(tmp_path, SIZE, use_labels=False).label_names == ()
    with pytest.raises(CardError, match="no class FULL_CARD; its classes are: LIGHT, SMALL"):
        read_cards(tmp_path, SIZE, only_labels=("SMALL", "FULL_CARD"))


# Bad cards among good ones


@pytest.fixture
def with_bad_ones(tmp_path):
    for seed in range(5):
        save(speckled(seed), tmp_path / f"SMALL/{seed}.png")
        save(spot(), tmp_path / f"masks/SMALL/{seed}.png")
    (tmp_path / "SMALL/1.png").write_bytes(b"")
    save(spot((16, 16)), tmp_path / "masks/SMALL/2.png")
    (tmp_path / "masks/SMALL/3.png").unlink()
    return tmp_path


def test_bad_cards_stop_the_reading_and_are_named(with_bad_ones):
    with pytest.raises(CardError, match=r"1\.png.*skip_bad.*2 more: cardsynth check"):
        read_cards(with_bad_ones, SIZE)


def test_skip_bad_names_what_it_left_out(with_bad_ones):
    cards = read_cards(with_bad_ones, SIZE, skip_bad=True)
    assert cards.names == ("SMALL/0.png", "SMALL/4.png")
    assert len(cards.skipped) == 3
    for reason, name, why in zip(cards.skipped, "123", ("empty", "16x16", "no mask"), strict=True):
        assert f"{name}.png" in reason
        assert why in reason
    (with_bad_ones / "SMALL/4.png").unlink()
    with pytest.raises(CardError, match="at least two"):
        read_cards(with_bad_ones, SIZE, skip_bad=True)


# Tensors


@pytest.mark.parametrize("patch_size", [1, 2, 4, 8])
def test_normalize_and_denormalize_are_inverse(patch_size):
    pixels = torch.arange(256, dtype=torch.uint8).repeat(4, 8, 1).reshape(2, 4, 16, 64)
    images = normalize(pixels, patch_size)
    assert images.shape == (2, 4 * patch_size**2, 16 // patch_size, 64 // patch_size)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (-1, 1)
    assert torch.equal(denormalize(images, patch_size), pixels)


def test_normalize_folds_neighbours_and_denormalize_clips():
    pixels = torch.tensor([[[[0, 51], [102, 255]]]], dtype=torch.uint8)
    folded = normalize(pixels, 2)
    assert folded.flatten().tolist() == pytest.approx([-1, -0.6, -0.2, 1])
    assert denormalize(torch.tensor([[[[-3.0, 7.0, 0.0]]]])).flatten().tolist() == [0, 255, 128]


def test_encoded_pictures_come_back():
    for picture in (np.asarray(speckled(0)), np.asarray(spot())):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(picture)))), picture)


def test_fingerprint_is_of_pixels_and_labels(tmp_path):
    metadata_jsonl(tmp_path / "one")
    for name in "xy":
        for folder in ("", "m/"):
            picture = (tmp_path / f"one/{folder}{name}.png").read_bytes()
            save(Image.open(io.BytesIO(picture)), tmp_path / f"two/{folder}renamed {name}.bmp")
    rows = [{"file_name": f"renamed {n}.bmp", "mask_file_name": f"m/renamed {n}.bmp"} for n in "xy"]
    labels = ("SMALL", "LIGHT")
    write_rows(tmp_path / "two", *(row | {"label": label} for row, label in zip(rows, labels, strict=True)))
    first = read_cards(tmp_path / "one", SIZE)
    assert read_cards(tmp_path / "two", SIZE).fingerprint == first.fingerprint
    others = [read_cards(tmp_path / "one", SIZE, use_masks=False), read_cards(tmp_path / "one", SIZE, use_labels=False)]
    write_rows(tmp_path / "two", *(row | {"label": label} for row, label in zip(rows, labels[::-1], strict=True)))
    others.append(read_cards(tmp_path / "two", SIZE))
    pixels = first.pixels.clone()
    pixels[1, 2, 3, 4] ^= 1
    others.append(Cards(pixels, first.labels, first.label_names))
    assert len({cards.fingerprint for cards in (first, *others)}) == 5


def some_cards(count: int) -> Cards:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8, generator=random)
    return Cards(pixels, torch.arange(count) % 2, ("LIGHT", "SMALL"))


def test_a_batch_of_cards():
    cards, indices = some_cards(5), torch.tensor([4, 0, 4])
    pixels, labels = cards.to("cpu").batch(indices, "cpu")
    assert torch.equal(pixels, cards.pixels[indices])
    assert labels.tolist() == [0, 0, 0]
    assert cards.batch(torch.tensor([1, 2]), "cpu")[1].tolist() == [1, 0]


@pytest.mark.parametrize(("free", "fits"), [(4 * 5 * 48, True), (4 * 5 * 48 - 4, False)])
def test_pixels_go_to_a_gpu_where_they_leave_room(monkeypatch, free, fits):
    cards, moved = some_cards(5), []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10**9))
    monkeypatch.setattr(torch.Tensor, "to", lambda values, device: moved.append((values.dtype, str(device))) or values)
    cards.to("cuda:0")
    assert moved == [(torch.uint8, "cuda:0")] * fits + [(torch.int64, "cuda:0")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("share", [1.0, 0.0])
def test_batches_on_a_gpu(monkeypatch, share):
    cards, indices = some_cards(50), torch.tensor([40, 0, 7])
    monkeypatch.setattr("cardsynth.cards.dataset.GPU_SHARE", share)
    moved = cards.to("cuda")
    assert moved.pixels.device.type == ("cuda" if share else "cpu")
    for where in ("cpu", "cuda"):
        pixels, labels = moved.batch(indices.to(where), "cuda")
        assert (pixels.device.type, labels.device.type) == ("cuda", "cuda")
        assert torch.equal(pixels.cpu(), cards.pixels[indices])
        assert torch.equal(labels.cpu(), cards.labels[indices])


def test_balance_report_marks_rare_classes(tmp_path):
    for seed in range(8):
        save(speckled(seed), tmp_path / ("SMALL" if seed else "CLEAN") / f"{seed}.png")
    report = balance_report(read_cards(tmp_path, SIZE)).splitlines()
    assert report[0] == "8 cards, 24x16, without masks"
    assert "87.5%" in report[1]
    assert "rare" not in report[1]
    assert "CLEAN" in report[2]
    assert "rare" in report[2]
