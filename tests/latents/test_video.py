import numpy as np
import pytest
import torch
from PIL import Image

from cardsynth.core.runs import load_model
from cardsynth.latents.latent_model import latents_of
from cardsynth.latents.video import read_film, write_film
from cardsynth.latents.walks import walk

COLOURS = ((220, 30, 30), (30, 180, 60), (40, 60, 210))


def cards(size=(10, 7), count=12):
    """Cards of red, green, blue in turn, each with a mask of its upper half."""
    height, width = size
    for number in range(count):
        card = torch.zeros(4, height, width, dtype=torch.uint8)
        card[:3] = torch.tensor(COLOURS[number % 3], dtype=torch.uint8)[:, None, None]
        card[3, : height // 2] = 255
        yield card


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_a_film_shows_every_card_in_its_colours(tmp_path, name):
    out = write_film(cards(), tmp_path / "films" / name, 12, progress=False)
    frames = list(read_film(out))
    assert len(frames) == 12
    for number, frame in enumerate(frames):
        height, width = frame.shape[:2]
        assert height % 2 == width % 2 == 0
        assert height / width == pytest.approx(10 / 7, abs=0.02)
        assert np.abs(frame[5:-5, 5:-5].mean(axis=(0, 1)) - COLOURS[number % 3]).max() < 8
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_a_gif_plays_over_and_over_at_its_speed(tmp_path):
    film = Image.open(write_film(cards(), tmp_path / "film.gif", 20, progress=False))
    assert film.info["loop"] == 0
    assert film.info["duration"] == 50
    assert film.n_frames == 12


def test_masks_stand_beside_their_cards(tmp_path):
    frame = next(read_film(write_film(cards((80, 64)), tmp_path / "film.mp4", 5, with_masks=True, progress=False)))
    assert frame.shape == (320, 512, 3)
    assert frame[20:140, 280:490].min() > 240
    assert frame[180:300, 280:490].max() < 15


def test_a_film_that_is_there_stays_unless_told_otherwise(tmp_path):
    out = write_film(cards(count=3), tmp_path / "film.gif", 5, progress=False)
    before = out.read_bytes()
    with pytest.raises(ValueError, match="exists already; choose another file"):
        write_film(cards(count=6), out, 5, progress=False)
    assert out.read_bytes() == before
    write_film(cards(count=6), out, 5, overwrite=True, progress=False)
    assert len(list(read_film(out))) == 6


def test_a_film_that_breaks_off_leaves_nothing(tmp_path):
    def broken():
        yield from cards(count=3)
        raise RuntimeError("the lamp went out")

    with pytest.raises(RuntimeError, match="lamp"):
        write_film(broken(), tmp_path / "film.mp4", 5, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "fps", "count", "message"),
    [
        ("film.avi", 12, 3, "ends in .mp4 or .gif"),
        ("film.mp4", 0, 3, "must be above 0"),
        ("film.gif", 60, 3, "at most 50 for a GIF"),
        ("film.mp4", 12, 0, "no frames"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path, name, fps, count, message):
    with pytest.raises(ValueError, match=message):
        write_film(cards(count=count), tmp_path / name, fps, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_command_films_a_walk(trained_run, tmp_path, cardsynth):
    out = tmp_path / "walk.mp4"
    arguments = ["walk", "--model", trained_run, "--out", out, "--seeds", "3,16", "--label", "SMALL"]
    arguments += ["--seconds", "0.5", "--fps", "8", "--steps", "2", "--sampler", "unipc"]
    code, said = cardsynth(*arguments)
    assert (code, "4 frames are in" in said) == (0, True), said
    frames = list(read_film(out))
    assert len(frames) == 4
    latents = latents_of(load_model(trained_run), sampler="unipc", num_inference_steps=2)
    expected = torch.stack(list(walk(latents, [3, 16], 4, "SMALL")))[:, :3].permute(0, 2, 3, 1).float().numpy()
    shown = np.stack(frames).reshape(4, 40, 8, 32, 8, 3).mean(axis=(2, 4))
    assert np.abs(shown - expected).mean() < 6
    code, said = cardsynth(*arguments)
    assert (code, "exists already" in said) == (1, True)
