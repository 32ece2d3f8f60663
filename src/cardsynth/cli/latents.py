"""Commands of latent space."""

from pathlib import Path
from typing import Annotated, Literal

from cardsynth.cli.options import Text, parse_seeds
from cardsynth.core.base_config import Sampler


def walk(
    model: Annotated[str, Text(help="Run folder, or a model id on the Hub.")],
    out: Annotated[Path, Text(help="Film to write: FILE.mp4 or FILE.gif.")],
    seeds: Annotated[str, Text(help="Seeds to walk by, like 0-7 or 3,16,20.")] = "0-7",
    label: Annotated[tuple[str, ...], Text(help="Damage class of all seeds, or of each; default: each in turn.")] = (),
    seconds: Annotated[float, Text(help="Length of the film.")] = 10.0,
    fps: Annotated[float, Text(help="Frames a second.")] = 12.0,
    loop: Annotated[bool, Text(help="Walk back to the first seed, so that the film can play over and over.")] = True,
    how: Annotated[Literal["spherical", "linear"], Text(help="The way from seed to seed.")] = "spherical",
    masks: Annotated[bool, Text(help="Show each card's mask at its right.")] = False,
    sampler: Annotated[Sampler | None, Text(help="How to sample, without fresh noise; default: the run's.")] = None,
    steps: Annotated[int | None, Text(help="Net calls a frame; default: the run's.")] = None,
    guidance: Annotated[float | None, Text(help="Guidance scale; 1: none; default: the run's.")] = None,
    revision: Annotated[str | None, Text(help="Branch, tag or commit on the Hub.")] = None,
    overwrite: Annotated[bool, Text(help="Replace a film that is there.")] = False,
) -> None:
    """Film a walk through a model's latent space, from seed to seed: cards that turn into each other."""
    from cardsynth.latents import walks
    from cardsynth.latents.latent_model import latents_of
    from cardsynth.latents.video import check_film, write_film
    from cardsynth.models import open_model

    check_film(out, overwrite)
    given = {"sampler": sampler, "num_inference_steps": steps, "guidance_scale": guidance}
    latents = latents_of(
        open_model(model, revision), **{name: value for name, value in given.items() if value is not None}
    )
    frames, labels = round(seconds * fps), label[0] if len(label) == 1 else label or None
    cards = walks.walk(latents, parse_seeds(seeds), frames, labels, loop, how)
    write_film(cards, out, fps, frames=frames, with_masks=masks, overwrite=overwrite)
    print(f"{frames} frames are in {out}")
