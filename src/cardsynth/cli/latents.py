"""The command that films a walk through latent space."""

from pathlib import Path
from typing import Annotated, Literal

from cardsynth.cli.options import FLAT, REVISION, parse_seeds
from cardsynth.cli.sampling import SamplingOptions
from cardsynth.util.settings import about

OWN_SETTINGS = SamplingOptions()


def walk(
    model: Annotated[str, about("Run folder, or a model id on the Hub.")],
    out: Annotated[Path, about("Film to write: FILE.mp4 or FILE.gif.")],
    seeds: Annotated[str, about("Seeds to visit, like 0-7 or 3,16,20.")] = "0-7",
    label: Annotated[tuple[str, ...], about("Damage class of all seeds, or of each; default: each in turn.")] = (),
    seconds: Annotated[float, about("Length of the film.")] = 10.0,
    fps: Annotated[float, about("Frames per second.")] = 12.0,
    loop: Annotated[bool, about("Return to the first seed, so that the film can loop.")] = True,
    interpolation: Annotated[Literal["spherical", "linear"], about("Interpolation between seeds.")] = "spherical",
    masks: Annotated[bool, about("Show the mask to the right of each card.")] = False,
    revision: Annotated[str | None, REVISION] = None,
    overwrite: Annotated[bool, about("Replace an existing film.")] = False,
    sampling: Annotated[SamplingOptions, FLAT] = OWN_SETTINGS,
) -> None:
    """Film a walk through a model's latent space, from seed to seed, as cards that turn into each other.

    The sampler must not add noise on the way: dpmsolver++, unipc or ddim.
    """
    from cardsynth.latents import walks
    from cardsynth.latents.latent_model import latents_of
    from cardsynth.latents.video import check_film, write_film
    from cardsynth.models import open_model

    check_film(out, overwrite)
    options = {name: value for name, value in vars(sampling).items() if value is not None}
    latents = latents_of(open_model(model, revision), **options)
    frames, labels = round(seconds * fps), label[0] if len(label) == 1 else label or None
    cards = walks.walk(latents, parse_seeds(seeds), frames, labels, loop, interpolation)
    write_film(cards, out, fps, frames=frames, with_masks=masks, overwrite=overwrite)
    print(f"{frames} frames are in {out}")
