"""Commands of models: trained, generated from, pushed and pulled."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cardsynth.cli.options import Text, check_unused, parse_seeds, parse_size, read_ahead
from cardsynth.cli.text import draw_prompts
from cardsynth.core.base_config import RunConfig, Sampler
from cardsynth.models import PRESETS, get_preset
from cardsynth.util.settings import load_config


def settings_before(arguments: list[str]) -> RunConfig:
    """The settings that `train` starts from: those of --preset and --config, read ahead of its other options."""
    given = read_ahead(arguments)
    config = get_preset(given.get("--preset", "demo"))
    return load_config(given["--config"], config) if "--config" in given else config


def train_with(defaults: RunConfig) -> Callable[..., None]:
    """The command `train`, whose settings, those of one kind of model, start from `defaults`."""

    def train(
        data: Annotated[str, Text(help="Card folder, or a data set id on the Hub.")],
        preset: Annotated[Literal[tuple(PRESETS)], Text(help="Settings to start from.")] = "demo",
        config: Annotated[Path | None, Text(help="JSON file of settings that replace the preset's.")] = None,
        out: Annotated[Path | None, Text(help="Run folder to write; default: runs/PRESET.")] = None,
        resume: Annotated[bool, Text(help="Go on from the run's last checkpoint.")] = False,
        overwrite: Annotated[bool, Text(help="Replace a run that is there.")] = False,
        estimate: Annotated[
            bool, Text(help="Say what the run takes, timed over ten steps, and do not start it.")
        ] = False,
        price_per_hour: Annotated[float | None, Text(help="With --estimate: price of the machine.")] = None,
        memory_gb: Annotated[float | None, Text(help="With --estimate: ask for a GPU of so many GB instead.")] = None,
        settings: Annotated[type(defaults), Text(name="")] = defaults,
    ) -> None:
        """Train a model on cards into a run folder; Ctrl-C saves a checkpoint first.

        The settings are those of the preset's kind: diffusion (most of them), or a baseline to compare it with, a DCGAN
        (--preset dcgan) or a VAE (--preset vae).
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
        print(f"The run is in {run}; generate cards from it: cardsynth generate --model {run}")
        if settings.push_to_hub:
            push(settings.hub_model_id, run=run, private=settings.hub_private_repo)

    return train


def generate(
    model: Annotated[str, Text(help="Run folder, or a model id on the Hub.")],
    seeds: Annotated[str, Text(help="Seeds, like 0-63 or 3,16; a card's file name is its seed.")] = "0-15",
    label: Annotated[str | None, Text(help="Damage class of all cards; default: each in turn.")] = None,
    covered: Annotated[
        float | None, Text(help="Share of the card that is to be damaged, 0 to 1; for models with that condition.")
    ] = None,
    darkness: Annotated[
        float | None, Text(help="Grey levels by which the damage is to change it; for models with that condition.")
    ] = None,
    out: Annotated[Path | None, Text(help="Card folder to write; default: generated_cards/MODEL.")] = None,
    sampler: Annotated[Sampler | None, Text(help="How to sample; default: the run's.")] = None,
    steps: Annotated[int | None, Text(help="Net calls a card; default: the run's.")] = None,
    guidance: Annotated[float | None, Text(help="Guidance scale; 1: none; default: the run's.")] = None,
    negative_label: Annotated[str | None, Text(help="Class that guidance leads away from; default: the run's.")] = None,
    batch_size: Annotated[int | None, Text(help="Cards at a time; default: what fits.")] = None,
    compile: Annotated[bool, Text(help="Compile the net, on a GPU: a minute, which many cards earn back.")] = False,
    ema_decay: Annotated[float | None, Text(help="Which of the run's averages; default: its main one.")] = None,
    revision: Annotated[str | None, Text(help="Branch, tag or commit on the Hub.")] = None,
    overwrite: Annotated[bool, Text(help="Replace pictures that are there.")] = False,
    prompt: Annotated[
        tuple[str, ...], Text(help="Draw from prompts instead, with a model of train-text or a Stable Diffusion.")
    ] = (),
    negative_prompt: Annotated[str | None, Text(help="With --prompt: what guidance leads away from.")] = None,
    size: Annotated[
        str | None, Text(metavar="HxW", help="With --prompt: height and width; default: the run's.")
    ] = None,
    base: Annotated[str | None, Text(help="With --prompt: base model of adapters; default: the run's.")] = None,
) -> None:
    """Generate labelled cards with their damage masks into a card folder, or pictures from prompts."""
    if prompt:
        for_classes = {"label": label, "sampler": sampler, "negative-label": negative_label, "batch-size": batch_size}
        for_classes |= {"covered": covered, "darkness": darkness, "compile": compile or None, "ema-decay": ema_decay}
        check_unused("--prompt", for_classes)
        where = None if size is None else parse_size(size)
        draw_prompts(
            model, prompt, negative_prompt, parse_seeds(seeds), out, steps, guidance, where, base, revision, overwrite
        )
        return
    check_unused("no --prompt", {"negative-prompt": negative_prompt, "size": size, "base": base})
    import torch
    from accelerate import PartialState

    from cardsynth.core.sampling import write_cards
    from cardsynth.models import open_model

    state = PartialState(cpu=not torch.cuda.is_available())
    loaded = open_model(model, revision, state.device, ema_decay)
    out = out or Path("generated_cards") / loaded.name.replace("/", "--")
    with state.split_between_processes(parse_seeds(seeds)) as share:
        write_cards(
            loaded,
            out,
            share,
            label,
            covered=covered,
            darkness=darkness,
            sampler=sampler,
            num_inference_steps=steps,
            guidance_scale=guidance,
            negative_label=negative_label,
            batch_size=batch_size,
            compile=compile,
            overwrite=overwrite,
        )
    state.wait_for_everyone()
    if state.is_main_process:
        print(f"{len(parse_seeds(seeds))} cards are in {out}")


def damage(
    cards: Annotated[Path, Text(help="Folder of clean cards of any size; of classes, CLEAN is taken.")],
    model: Annotated[str, Text(help="Run folder, or a model id on the Hub; one that was trained with masks.")],
    out: Annotated[Path, Text(help="Card folder to write.")],
    label: Annotated[str | None, Text(help="Class of damage; default: the model's classes in turn.")] = None,
    masks: Annotated[
        str, Text(help="Where: sampled by the model, drawn (the renderer's shapes), or a folder of masks.")
    ] = "sampled",
    per_card: Annotated[int, Text(help="Damaged cards made of each clean one.")] = 1,
    seed: Annotated[int, Text(help="First seed; each damaged card has one of its own.")] = 0,
    feathering: Annotated[
        float, Text(help="Share of a card's width within which damage rises from its outline.")
    ] = 0.008,
    clean_label: Annotated[str | None, Text(help="Class of the folder that has no damage; default: CLEAN.")] = None,
    sampler: Annotated[Sampler, Text(help="How to sample.")] = "sde-dpmsolver++",
    steps: Annotated[int | None, Text(help="Net calls a card; default: the run's.")] = None,
    guidance: Annotated[float | None, Text(help="Guidance scale; 1: none; default: the run's.")] = None,
    revision: Annotated[str | None, Text(help="Branch, tag or commit on the Hub.")] = None,
    overwrite: Annotated[bool, Text(help="Replace pictures that are there.")] = False,
) -> None:
    """Paint damage onto your own clean cards: outside its mask each stays as it is, to the pixel."""
    from cardsynth.models import open_model
    from cardsynth.painting.folder import damage_cards

    loaded = open_model(model, revision)
    where = {"masks": masks, "per_card": per_card, "seed": seed, "feathering": feathering, "clean_label": clean_label}
    how = {"sampler": sampler, "num_inference_steps": steps, "guidance_scale": guidance}
    damage_cards(loaded, cards, out, label, overwrite=overwrite, **where, **how)
    print(f"Damaged cards, their masks and their clean twins are in {out}")


def push(
    repo_id: Annotated[str, Text(help="Repository on the Hub, like name/model.")],
    run: Annotated[Path | None, Text(help="Run folder to push: of any kind of model.")] = None,
    cards: Annotated[Path | None, Text(help="Card folder to push as a data set.")] = None,
    private: Annotated[bool, Text(help="Make the repository private.")] = False,
    tag: Annotated[str | None, Text(help="Name of this version, like v2; pull it by --revision.")] = None,
) -> None:
    """Push a run or a card folder to the Hugging Face Hub; log in first with `hf auth login`."""
    from cardsynth.hub.push_pull import push_cards, push_run

    if (run is None) == (cards is None):
        raise ValueError("say what to push: --run RUN or --cards FOLDER")
    push_it, folder = (push_run, run) if run else (push_cards, cards)
    url = push_it(folder, repo_id, private=private, tag=tag)
    print(f"Pushed to {url}")


def pull(
    model: Annotated[tyro.conf.Positional[str], Text(help="Model id on the Hub, like name/model.")],
    revision: Annotated[str | None, Text(help="Branch, tag or commit.")] = None,
) -> None:
    """Pull a run from the Hugging Face Hub into its cache, and say where it lies."""
    from cardsynth.hub.push_pull import pull_run

    print(pull_run(model, revision=revision))
