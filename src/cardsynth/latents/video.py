"""Films of cards as MP4 and GIF, frame by frame, so that a long one takes no more memory than a short one."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import torch
from tqdm.auto import tqdm

SHOWN_HEIGHT = 320  # pixels that a small card is enlarged to, about
# A palette of its own for each frame, so that no frame waits for the last one.
PALETTES = (
    "split[seen][measured];[measured]palettegen=stats_mode=single[palette];[seen][palette]paletteuse=new=1:dither=none"
)
# Else what has the number of the last frame's colour counts as unchanged, though the palette is another.
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
    """Where a film goes; raises ValueError unless it is a new `.mp4` or `.gif`, or one that may be overwritten."""
    out = Path(out)
    if out.suffix.lower() not in KINDS:
        raise ValueError(f"{out} is no film; name a file that ends in {' or '.join(KINDS)}")
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists already; name another file, or overwrite")
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
    """Write cards uint8 (C, H, W) as a film, an `.mp4` (H.264) or a `.gif` that plays over and over, by its ending.

    Small cards are enlarged by whole pixels to a height of about `SHOWN_HEIGHT`. frames: how many there are, for the
    progress bar. with_masks: each card's mask stands at its right, where it has one. The film is there once it is
    whole; memory does not grow with its length. Raises ValueError as `check_film`, for frames per second that are not
    above 0 (a GIF shows up to 50), and without frames.
    """
    out = check_film(out, overwrite)
    if not frames_per_second > 0 or (out.suffix.lower() == ".gif" and frames_per_second > 50):
        raise ValueError(f"frames per second must be above 0, and of a GIF 50 at the most, not {frames_per_second:g}")
    pictures = (_frame(card, with_masks) for card in cards)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"there are no frames to write to {out}")
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
    """A card uint8 (C, H, W) as a frame (height, width, 3), enlarged, both sides even, as H.264 takes them."""
    picture = card[:3]
    if with_mask and len(card) == 4:
        picture = torch.cat([picture, card[3:].expand(3, -1, -1)], dim=2)
    zoom = max(1, round(SHOWN_HEIGHT / card.shape[1]))
    pixels = picture.permute(1, 2, 0).numpy().repeat(zoom, axis=0).repeat(zoom, axis=1)
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def read_film(path: str | Path) -> Iterator[np.ndarray]:
    """Yield the frames of a film, uint8 (height, width, 3)."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    for frame in reader:
        yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
