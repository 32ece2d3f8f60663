"""Commands of models that draw cards: train, generate, damage, push and pull."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cardsynth.cli.options import FLAT, OVERWRITE, REVISION, parse_seeds, read_options
from cardsynth.cli.sampling import SamplingOptions
from cardsynth.core.base_config import RunConfig
from cardsynth.models import PRESETS, get_preset
from cardsynth.util.settings import about, load_config


@dataclass(frozen=True)
class GenerationOptions(SamplingOptions):
    """Options of `generate` that are passed on to `write_cards`."""

    covered: Annotated[float | None, about("Share of the card under damage, 0 to 1, if the model learned it.")] = None
    darkness: Annotated[float | None, about("Change by damage in grey levels, if the model learned it.")] = None
    batch_size: Annotated[int | None, about("Cards in a batch; default: as many as fit in memory.")] = None
    compile: Annotated[bool, about("Compile the net on a GPU; takes a minute, pays off for many cards.")] = False
    overwrite: Annotated[bool, OVERWRITE] = False


@dataclass(frozen=True)
class PaintingOptions(SamplingOptions):
    """Options of `damage` that are passed on to `damage_cards`."""

    masks: Annotated[str, about("sampled (by the model), drawn (by the renderer), or a folder of masks.")] = "sampled"
    per_card: Annotated[int, about("Damaged cards for each clean one.")] = 1
    seed: Annotated[int, about("First seed; each damaged card has its own.")] = 0
    feathering: Annotated[float, about("Soft edge of damage, as a share of a card's shorter side.")] = 0.008
    clean_label: Annotated[str | None, about("Class without damage; default: CLEAN.")] = None
    overwrite: Annotated[bool, OVERWRITE] = False


def initial_settings(arguments: Sequence[str]) -> RunConfig:
    """Reads the settings that --preset and --config name: the defaults of the other options of `train`."""
    (preset, config), _ = read_options(arguments, "--preset", "--config")
    settings = get_preset(preset or "demo")
    return load_config(config, settings) if config else settings


def train(
    data: Annotated[str, about("Card folder, or a data set id on the Hub.")],
    preset: Annotated[Literal[tuple(PRESETS)], about("Settings to start from.")] = "demo",
    config: Annotated[Path | None, about("JSON file of settings that replace the preset's.")] = None,
    out: Annotated[Path | None, about("Run folder to write; default: runs/PRESET.")] = None,
    resume: Annotated[bool, about("Resume from the run's last checkpoint.")] = False,
    overwrite: Annotated[bool, about("Replace an existing run.")] = False,
    estimate: Annotated[bool, about("Only estimate memory and time, from ten timed steps.")] = False,
    price_per_hour: Annotated[float | None, about("With --estimate: price of the machine.")] = None,
    memory_gb: Annotated[float | None, about("With --estimate: GPU memory to fit, instead of this machine's.")] = None,
    settings: Annotated[RunConfig, FLAT] = PRESETS["demo"],
) -> None:
    """Train a model on cards into a run folder; Ctrl-C saves a checkpoint first.

    The settings are those of the preset's kind of model: diffusion (most presets), or a baseline for comparison, a
    DCGAN (--preset dcgan) or a VAE (--preset vae).
    """
    from cardsynth.cards.dataset import balance_report, read_cards
    from cardsynth.cli.drive import drive
    from cardsynth.models import check_settings
    from cardsynth.models import train as train_model

    run = out or Path("runs") / preset
    check_settings(settings)
    cards = read_cards(data, settings.reading)
    print(balance_report(cards), *(f"Left out: {reason}" for reason in cards.skipped), sep="\n", flush=True)
    if estimate:
        from cardsynth.doctor.estimate import estimate_run

        print(estimate_run(settings, cards, memory_gb).text(price_per_hour))
        return
    drive(train_model(settings, cards, run, resume=resume, overwrite=overwrite), run)
    print(f"The run is in {run}. To generate cards: cardsynth generate --model {run}")
    if settings.push_to_hub:
        push(settings.hub_model_id, model=run, private=settings.hub_private_repo)


def generate(
    model: Annotated[str, about("Run folder, or a model id on the Hub.")],
    seeds: Annotated[str, about("Seeds, like 0-63 or 3,16; a card's file name is its seed.")] = "0-15",
    label: Annotated[str | None, about("Damage class of all cards; default: each class in turn.")] = None,
    out: Annotated[Path | None, about("Card folder to write; default: generated_cards/MODEL.")] = None,
    ema_decay: Annotated[float | None, about("Average of the weights to use; default: the run's main one.")] = None,
    revision: Annotated[str | None, REVISION] = None,
    options: Annotated[GenerationOptions, FLAT] = GenerationOptions(),
) -> None:
    """Generate labelled cards with their damage masks into a card folder."""
    import torch
    from accelerate import PartialState

    from cardsynth.core.sampling import write_cards
    from cardsynth.models import open_model

    state = PartialState(cpu=not torch.cuda.is_available())
    card_model = open_model(model, revision, state.device, ema_decay)
    out = out or Path("generated_cards") / card_model.name.replace("/", "--")
    with state.split_between_processes(parse_seeds(seeds)) as share:
        write_cards(card_model, out, share, label, **vars(options))
    state.wait_for_everyone()
    if state.is_main_process:
        print(f"{len(parse_seeds(seeds))} cards are in {out}")


def damage(
    data: Annotated[Path, about("Folder of clean cards of any size; if it has classes, cards of CLEAN are used.")],
    model: Annotated[str, about("Run folder, or a model id on the Hub; of a model trained with masks.")],
    out: Annotated[Path, about("Card folder to write.")],
    label: Annotated[str | None, about("Damage class; default: the model's classes in turn.")] = None,
    revision: Annotated[str | None, REVISION] = None,
    options: Annotated[PaintingOptions, FLAT] = PaintingOptions(sampler="sde-dpmsolver++"),
) -> None:
    """Paint damage onto clean cards; outside its mask, each card stays identical to the pixel."""
    from cardsynth.models import open_model
    from cardsynth.painting.folder import damage_cards

    damage_cards(open_model(model, revision), data, out, label, **vars(options))
    print(f"Damaged cards, their masks and their clean twins are in {out}")


def push(
    repo_id: Annotated[str, about("Repository on the Hub, like name/model.")],
    model: Annotated[Path | None, about("Run folder of any kind of model to push.")] = None,
    data: Annotated[Path | None, about("Card folder to push as a data set.")] = None,
    private: Annotated[bool, about("Make the repository private.")] = False,
    tag: Annotated[str | None, about("Name of this version, like v2; `pull --revision` takes it.")] = None,
) -> None:
    """Push a run or a card folder to the Hugging Face Hub; log in first with `hf auth login`."""
    from cardsynth.hub.push_pull import push_cards, push_run

    if (model is None) == (data is None):
        raise ValueError("choose what to push: --model RUN or --data FOLDER")
    url = (push_run if model else push_cards)(model or data, repo_id, private=private, tag=tag)
    print(f"Pushed to {url}")


def pull(
    model: Annotated[tyro.conf.Positional[str], about("Model id on the Hub, like name/model; also --model.")],
    revision: Annotated[str | None, REVISION] = None,
) -> None:
    """Pull a run from the Hugging Face Hub into its cache, and print its folder."""
    from cardsynth.hub.push_pull import pull_run

    print(pull_run(model, revision=revision))
