"""Commands of text to card: captions, fine-tuning of Stable Diffusion, and its judging."""

from pathlib import Path
from typing import Annotated

import tyro

from cardsynth.options import Text


def caption(
    folder: Annotated[tyro.conf.Positional[Path], Text(help="A card folder, or a folder of scans.")],
    trigger: Annotated[str, Text(help="Word that shall stand for your cards; best one that means nothing yet.")] = (
        "crdbck"
    ),
    template: Annotated[
        tuple[str, ...],
        Text(help="Templates of your own: {trigger}, {damage} and columns; [parts] go where one is unknown."),
    ] = (),
    seed: Annotated[int, Text(help="Seed of which card gets which template.")] = 0,
    overwrite: Annotated[bool, Text(help="Replace captions that are there.")] = False,
) -> None:
    """Write captions from what is known of each card (class, damage, decade, stock, ...) into its metadata."""
    from cardsynth.captions import TEMPLATES, captions_of, check_captions, write_captions

    written = write_captions(folder, trigger, template or TEMPLATES, seed, overwrite)
    captions = captions_of(folder)
    for name in list(written)[:5]:
        print(f"{name}: {captions[name]}")
    kept = len(captions) - len(written)
    print(f"{len(written)} captions written, {kept} that were there kept{' (--overwrite replaces them)' * bool(kept)}")
    for problem in check_captions(captions):
        print(f"{problem.level:>9}  {problem.file}: {problem.reason}; {problem.remedy}")
