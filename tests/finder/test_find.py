import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cardsynth.__main__ import main
from cardsynth.cards.check import check_folder
from cardsynth.cards.dataset import read_cards
from cardsynth.cards.folder import CardError, read_metadata
from cardsynth.core.runs import read_manifest
from cardsynth.finder.config import FinderConfig
from cardsynth.finder.find import find_on_cards, write_findings
from cardsynth.finder.net import DamageFinder, load_finder


class SeesRed(nn.Module):
    """A net that takes red for SMALL and blue for LIGHT."""

    def __init__(self):
        super().__init__()
        self.sure = nn.Parameter(torch.tensor(8.0))

    def forward(self, images):
        red, green, blue = images.split(1, dim=1)
        return self.sure * torch.cat([torch.full_like(red, 0.6), red - green, blue - green], dim=1)


FINDER = DamageFinder(
    SeesRed(), FinderConfig(height=80, width=64, encoder_depth=1, decoder_channels=(8,)), ("SMALL", "LIGHT")
)


@pytest.fixture
def scans(tmp_path):
    """A portrait scan with a red and a small blue patch, a landscape one with a blue patch, and an undamaged one."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, size, patches in (
        ("a.png", (200, 150), {"red": (20, 40, 80, 100), "blue": (100, 150, 112, 162)}),
        ("b.jpg", (120, 260), {"blue": (200, 20, 250, 60)}),
        ("c.png", (200, 160), {}),
    ):
        picture = Image.new("RGB", size[::-1], (200, 200, 200))
        for colour, box in patches.items():
            picture.paste(colour, box)
        picture.save(folder / name, quality=95)
    return folder


def test_damage_is_found_where_it_lies_on_pictures_of_any_size(scans):
    found = {finding.card.name: finding for finding in find_on_cards(FINDER, scans)}
    assert [damage.label for damage in found["a.png"].damages] == ["SMALL", "LIGHT"]
    x, y, width, height = found["a.png"].damages[0].box
    assert np.allclose((x, y, x + width, y + height), (20, 40, 80, 100), atol=3)
    (of_b,) = found["b.jpg"].damages
    x, y, width, height = of_b.box
    assert np.allclose((x, y, x + width, y + height), (200, 20, 250, 60), atol=4)
    assert found["a.png"].mask.shape == (200, 150)
    assert set(np.unique(found["a.png"].mask)) == {0, 255}
    assert not found["c.png"].damages
    assert not found["c.png"].mask.any()


def test_unsure_damage_is_left_out(scans):
    unsure = DamageFinder(SeesRed(), FINDER.config, FINDER.labels)
    unsure.net.sure.data.fill_(1.5)
    assert all(not finding.damages for finding in find_on_cards(unsure, scans, confidence=0.9))
    assert sum(len(finding.damages) for finding in find_on_cards(unsure, scans, confidence=0.3)) == 3


def test_what_is_found_is_a_card_folder(scans, tmp_path):
    out = tmp_path / "found"
    counts = write_findings(FINDER, scans, out, "finder")
    assert counts == {"SMALL": 1, "LIGHT": 1, "CLEAN": 1}
    rows = {row["source"]: row for row in read_metadata(out / "metadata.jsonl")}
    assert rows["a.png"]["objects"]["categories"] == ["SMALL", "LIGHT"]
    assert rows["b.jpg"]["file_name"] == "b.png"
    cards = read_cards(out, (80, 64), fit="pad")
    assert cards.class_counts == {"CLEAN": 1, "LIGHT": 1, "SMALL": 1}
    assert check_folder(out).ok
    drawn = np.asarray(Image.open(out / "report/a.png"))
    assert drawn.shape[0] >= 400
    assert np.array_equal(np.asarray(Image.open(out / "a.png")), np.asarray(Image.open(scans / "a.png")))


def test_nothing_is_overwritten_unasked(scans, tmp_path):
    write_findings(FINDER, scans, tmp_path / "found", "finder")
    with pytest.raises(CardError, match="exists already"):
        write_findings(FINDER, scans, tmp_path / "found", "finder")
    write_findings(FINDER, scans, tmp_path / "found", "finder", overwrite=True)
    with pytest.raises(CardError, match="folder of the cards themselves"):
        write_findings(FINDER, scans, scans, "finder", overwrite=True)


def test_the_commands_train_test_and_find(card_folder, scans, tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["cardsynth", *map(str, arguments)])
        main()

    small = ["--height", 40, "--width", 32, "--encoder-name", "tu-test_resnet", "--encoder-depth", 2]
    small += ["--decoder-channels", 8, 8, "--max-train-steps", 3, "--train-batch-size", 4]
    finder = tmp_path / "finder"
    run("train-finder", "--data", card_folder, "--test", card_folder, "--out", finder, *small)
    assert "mean IoU" in capsys.readouterr().out
    assert load_finder(finder).config.size == (40, 32)
    manifest = read_manifest(finder)
    assert (manifest["figures"]["count"], manifest["data"]["count"], manifest["steps"]) == (30, 30, 3)
    with pytest.raises(SystemExit, match="holds a run already"):
        run("train-finder", "--data", card_folder, "--out", finder, *small)
    run("find", scans, "--model", finder, "--out", tmp_path / "found", "--confidence", 0)
    assert len(read_metadata(tmp_path / "found/metadata.jsonl")) == 3
    with pytest.raises(SystemExit, match="no run folder of kind damage finder"):
        run("find", scans, "--model", card_folder, "--out", tmp_path / "other")
