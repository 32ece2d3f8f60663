"""The demo from nothing to its page, small, and once more."""

import datasets
import pytest

from cardsynth.cli.demo import run_demo
from cardsynth.evaluation import features
from cardsynth.evaluation.summary import read_evaluation
from cardsynth.models import get_preset

pytestmark = pytest.mark.slow


def test_from_nothing_to_a_page_and_again_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(features, "STEPS", 5)
    folders = {"data": tmp_path / "cards", "run": tmp_path / "run", "out": tmp_path / "made"}
    page = run_demo(get_preset("smoke"), **folders, count=30, generated=10, fresh=20)
    assert page == tmp_path / "made/report/index.html"
    assert page.stat().st_size > 10_000
    assert (tmp_path / "made/report/grid.png").is_file()
    assert read_evaluation(tmp_path / "run")["counts"] == {"real": 30, "generated": 10, "held_out": 20}
    opened = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "made"), cache_dir=str(tmp_path / "cache"))
    assert len(opened["train"]) == 10
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert run_demo(get_preset("smoke"), **folders, count=30, generated=10, fresh=20) == page
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before
    assert "4 of 4" in capsys.readouterr().out
