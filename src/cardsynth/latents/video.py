"""Writes films of cards as MP4 and GIF, frame by frame, so that memory does not grow with the length."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import torch
from tqdm.auto import tqdm

SHOWN_HEIGHT = 320  # approximate height of enlarged cards in pixels
# Each frame has its own palette, so that no frame waits for the last one.
PALETTES = (
    "split[seen][measured];[measured]palettegen=stats_mode=single[palette];[seen][palette]paletteuse=new=1:dither=none"
)
# Without these flags, pixels with the colour index of the previous frame count as unchanged, despite a new palette.
WHOLE_FRAMES = "-offsetting-transdiff"
KINDS: dict[str, dict[str, Any]] = {
    ".mp4": {"codec": "libx264", "quality": 8, "output_params": ["-movflags", "+faststart"]},
    ".gif": {
        "codec": "gif",
        "quality": None,
        "pix_fmt_out": "pal8",
        "output_params": ["-vf", PALETTES, "-gifflags", WHOLE_FRAMES],
    },
}


def check_film(out: str | Path, overwrite: bool = False) -> Path:
    """Returns the path of a film; raises ValueError unless it ends in `.mp4` or `.gif` and may be written."""
    out = Path(out)
    if out.suffix.lower() not in KINDS:
        raise ValueError(f"{out} is not a film; choose a file name that ends in {' or '.join(KINDS)}")
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists already; choose another file, or overwrite it")
    return out


def write_film(
    cards: Iterable[torch.Tensor],
    out: str | Path,
    frames_per_second: float = 12,
    *,
    frames: int | None = None,
    with_masks: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Writes a film atomically. Small cards are enlarged by an integer factor to a height of about `SHOWN_HEIGHT`.

    Args:
        cards: Cards uint8 (C, H, W).
        out: `.mp4` (H.264), or `.gif`, which repeats.
        frames_per_second: Above 0; at most 50 for a GIF.
        frames: Number of cards, for the progress bar.
        with_masks: Show each card's mask on its right.
        overwrite: Replace an existing file.
        progress: Show a progress bar.

    Raises:
        ValueError: There are no cards, the frame rate is out of range, or `check_film` refuses the path.
    """
    out = check_film(out, overwrite)
    if not frames_per_second > 0 or (out.suffix.lower() == ".gif" and frames_per_second > 50):
        raise ValueError(f"frames per second must be above 0, and at most 50 for a GIF, not {frames_per_second:g}")
    pictures = (_frame(card, with_masks) for card in cards)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"no frames to write to {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}.tmp{out.suffix}")
    size = (first.shape[1], first.shape[0])
    writer = imageio_ffmpeg.write_frames(
        str(temporary), size, fps=frames_per_second, macro_block_size=1, ffmpeg_log_level="error",
        **KINDS[out.suffix.lower()],
    )  # fmt: skip
    try:
        writer.send(None)
        for picture in tqdm(chain([first], pictures), "Filming", frames, unit="frame", disable=not progress):
            writer.send(picture)
        writer.close()
        temporary.replace(out)
    finally:
        writer.close()
        temporary.unlink(missing_ok=True)
    return out


def _frame(card: torch.Tensor, with_mask: bool) -> np.ndarray:
    """Enlarges a card uint8 (C, H, W) to a frame (height, width, 3) with even sides, as H.264 requires."""
    picture = card[:3]
    if with_mask and len(card) == 4:
        picture = torch.cat([picture, card[3:].expand(3, -1, -1)], dim=2)
    zoom = max(1, round(SHOWN_HEIGHT / card.shape[1]))
    pixels = picture.permute(1, 2, 0).numpy().repeat(zoom, axis=0).repeat(zoom, axis=1)
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def read_film(path: str | Path) -> Iterator[np.ndarray]:
    """Yields the frames of a film, uint8 (height, width, 3)."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    for frame in reader:
        yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
