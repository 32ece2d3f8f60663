"""Cards and a trained run that many tests share."""

import os
import shutil
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pictures import make_flat, make_labelled
from tiny_diffusion import make_stable_diffusion

from cardsynth.__main__ import main
from cardsynth.cards import cache
from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.models import get_preset, train
from cardsynth.render.draw import render_cards
from cardsynth.text.captions import write_captions


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept between runs is kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CARDSYNTH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _same_threads_everywhere() -> Iterator[None]:
    """Use two PyTorch threads on any machine, in processes that tests start too; OMP_NUM_THREADS overrides it.

    The number of threads decides how a batch is split, and so the rounding and the course of a training.
    """
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "2"))
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def card_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty drawn cards of 40x32, six of each class."""
    return render_cards(tmp_path_factory.mktemp("cards") / "drawn", 30, (40, 32), workers=1)


@pytest.fixture(scope="session")
def cards(card_folder: Path) -> Cards:
    return read_cards(card_folder, get_preset("smoke").reading)


@pytest.fixture(scope="session")
def trained_run(cards: Cards, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the `smoke` preset; leave it as it is, or take `run_copy`."""
    run = tmp_path_factory.mktemp("runs") / "smoke"
    for _ in train(get_preset("smoke"), cards, run):
        pass
    return run


@pytest.fixture(scope="session")
def baseline_runs(cards: Cards, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs of the presets `smoke_dcgan` and `smoke_vae`, by kind; leave them as they are."""
    folder = tmp_path_factory.mktemp("baselines")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "mode collapse")
        for kind in ("dcgan", "vae"):
            deque(train(get_preset(f"smoke_{kind}"), cards, folder / kind), maxlen=0)
    return {kind: folder / kind for kind in ("dcgan", "vae")}


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion that draws 32x32, without a safety checker."""
    return make_stable_diffusion(tmp_path_factory.mktemp("base") / "tiny-sd")


@pytest.fixture(scope="session")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn cards of 40x24 with captions."""
    folder = render_cards(tmp_path_factory.mktemp("captioned") / "drawn", 8, (40, 24), workers=1)
    write_captions(folder, overwrite=True)
    return folder


@pytest.fixture
def run_copy(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return make_flat(tmp_path)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return make_labelled(tmp_path)


@pytest.fixture
def cached_from_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of four pictures or more are prepared once."""
    monkeypatch.setattr(cache, "CACHED_FROM", 4)


@pytest.fixture(params=["metadata", "class folders"])
def masked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Four cards with masks, of two classes, with metadata or without."""
    made = make_labelled(tmp_path / "cards")
    if request.param == "class folders":
        (made / "metadata.jsonl").unlink()
    return made


@pytest.fixture
def cardsynth(monkeypatch, capsys):
    """Run the command in this process; returns exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["cardsynth", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        message = code if isinstance(code, str) else ""
        return (1 if message else code or 0), said.out + said.err + message

    return run
