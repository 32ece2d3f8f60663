"""The `cardsynth` command: a thin shell over the package's functions."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cardsynth.config import CLASSES, EXTRA_CLASSES, PRESETS, Fit, Sampler, TrainingConfig, get_preset, load_config

Text = tyro.conf.arg
DEMO_PAGE = Path("generated_cards/demo/report/index.html")
SIZE_HELP = Text(metavar="HxW", help="Height and width in pixels, like 160x128.")


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of a text like 160x128; raises ValueError for another form."""
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdigit() and width.isdigit()):
        raise ValueError(f"--size is {text!r}; write height x width, like 160x128")
    return int(height), int(width)


def parse_seeds(text: str) -> list[int]:
    """Whole numbers of a text like 0-63 or 3,16,20-29; raises ValueError for another form."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ValueError(f"--seeds is {text!r}; write seeds like 0-63 or 3,16,20-29")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def parse_range(text: str) -> tuple[int, int]:
    """Least and most of a text like 2 or 1-3; raises ValueError for another form."""
    least, separator, most = text.partition("-")
    if not least.isdigit() or (separator and not most.isdigit()):
        raise ValueError(f"--damages is {text!r}; write a number or a range, like 2 or 1-3")
    return int(least), int(most or least)


def render(
    out: Annotated[Path, Text(help="Folder to write the card folder to.")],
    count: Annotated[int, Text(help="Number of cards.")] = 100,
    size: Annotated[str, SIZE_HELP] = "160x128",
    seed: Annotated[int, Text(help="First seed; card i has seed + i.")] = 0,
    classes: Annotated[
        tuple[str, ...], Text(help=f"Damage classes, drawn in turn; also: {', '.join(EXTRA_CLASSES)}.")
    ] = CLASSES,
    style: Annotated[tuple[str, ...], Text(help="Styles to draw: layouts, stocks and inks.")] = ("a", "b", "c"),
    damages: Annotated[str, Text(help="Damages on a damaged card, like 2 or 1-3; the first is of its class.")] = "1",
    others: Annotated[tuple[str, ...], Text(help="Kinds of damage to draw all but the first from.")] = EXTRA_CLASSES,
    severity: Annotated[float, Text(help="Factor of damage's size and darkness, 0.25 to 2.")] = 1.0,
    soft_masks: Annotated[bool, Text(help="Write soft masks too: how much damage lies on each pixel.")] = False,
    twins: Annotated[bool, Text(help="Write each card's undamaged twin too.")] = False,
    workers: Annotated[int | None, Text(help="Processes; default: one for each core.")] = None,
    overwrite: Annotated[bool, Text(help="Replace pictures that are there.")] = False,
) -> None:
    """Draw card backs with damage and exact masks into a card folder."""
    from cardsynth.render import render_cards

    how = {"damages": parse_range(damages), "severity": severity, "others": others}
    files = {"overwrite": overwrite, "soft_masks": soft_masks, "twins": twins}
    render_cards(out, count, parse_size(size), seed, classes, workers, styles=style, **how, **files)
    print(f"{count} cards are in {out}")


def check(
    folder: Annotated[tyro.conf.Positional[Path], Text(help="A card folder, or a folder of scans.")],
    labels: Annotated[tuple[str, ...], Text(help="Classes that there should be; others are reported.")] = (),
) -> None:
    """List every problem of a card folder, with its remedy; exit code 1 where there are errors."""
    from cardsynth.check import check_folder

    report = check_folder(folder, labels)
    print(report.text())
    if not report.ok:
        sys.exit(1)


def scans(
    pages: Annotated[
        tyro.conf.Positional[Path], Text(help="Folder of scanner pages or photos; classes as sub-folders.")
    ],
    out: Annotated[Path, Text(help="Card folder to write.")],
    review: Annotated[Path | None, Text(help="Folder for unsure cards; default: OUT_review.")] = None,
    size: Annotated[str, SIZE_HELP] = "700x500",
    aspect: Annotated[float, Text(help="Long over short side of a card.")] = 1.4,
    confidence: Annotated[float, Text(help="Confidence from which a card is sure.")] = 0.6,
    workers: Annotated[int | None, Text(help="Processes; default: one for each core.")] = None,
    overwrite: Annotated[bool, Text(help="Read all pages anew and replace their cards.")] = False,
) -> None:
    """Find, straighten and crop the cards of scanner pages; goes on where it was stopped."""
    from cardsynth.pages import ScanSettings, scan_pages

    settings = ScanSettings(parse_size(size), aspect, confidence, min(0.3, confidence))
    summary = scan_pages(pages, out, review, settings, workers, overwrite)
    print(f"{summary.text()}\nCards are in {out}; see its contact sheets in {out / 'report'}")
    if summary.broken:
        sys.exit(1)


def train_with(defaults: TrainingConfig) -> Callable[..., None]:
    """The command `train`, whose settings start from `defaults`."""

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
        settings: Annotated[TrainingConfig, Text(name="")] = defaults,
    ) -> None:
        """Train a model on cards into a run folder; Ctrl-C saves a checkpoint first."""
        from cardsynth.cards import balance_report, cards_for
        from cardsynth.drive import drive_training
        from cardsynth.model import check_size

        run = out or Path("runs") / preset
        check_size(*settings.size, len(settings.block_out_channels), settings.patch_size)
        cards = cards_for(settings, data)
        print(balance_report(cards), *(f"Left out: {reason}" for reason in cards.skipped), sep="\n", flush=True)
        if estimate:
            from cardsynth.estimate import estimate_run

            print(estimate_run(settings, cards, memory_gb).text(price_per_hour))
            return
        drive_training(settings, cards, run, resume, overwrite)
        print(f"The run is in {run}; generate cards from it: cardsynth generate --model {run}")
        if settings.push_to_hub:
            push(settings.hub_model_id, run=run, private=settings.hub_private_repo)

    return train


def generate(
    model: Annotated[str, Text(help="Run folder, or a model id on the Hub.")],
    seeds: Annotated[str, Text(help="Seeds, like 0-63 or 3,16; a card's file name is its seed.")] = "0-15",
    label: Annotated[str | None, Text(help="Damage class of all cards; default: each in turn.")] = None,
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
) -> None:
    """Generate labelled cards with their damage masks into a card folder."""
    import torch
    from accelerate import PartialState

    from cardsynth.sampling import open_model, write_cards

    state = PartialState(cpu=not torch.cuda.is_available())
    loaded = open_model(model, revision, state.device, ema_decay)
    out = out or Path("generated_cards") / loaded.name.replace("/", "--")
    with state.split_between_processes(parse_seeds(seeds)) as share:
        write_cards(
            loaded,
            out,
            share,
            label,
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


def evaluate(
    real: Annotated[Path, Text(help="Card folder that the model was trained on.")],
    generated: Annotated[Path, Text(help="Card folder of generated cards.")],
    held_out: Annotated[
        Path | None, Text(help="Real cards that it was not trained on; default: a part of real.")
    ] = None,
    out: Annotated[
        Path | None, Text(help="Folder for figures and page, like the run's; default: GENERATED_evaluation.")
    ] = None,
    net: Annotated[
        Literal["cardnet", "inception-2015-12-05", "dinov2", "clip"], Text(help="What measures distances.")
    ] = "cardnet",
    weights: Annotated[
        Path | None, Text(help="File or folder of that net's weights; default: the usual cache.")
    ] = None,
    size: Annotated[str, SIZE_HELP] = "80x64",
    fit: Annotated[Fit, Text(help="How pictures of another shape fit.")] = "crop",
    seed: Annotated[int, Text(help="Seed of all that is drawn at random.")] = 0,
) -> None:
    """Judge generated cards: like real ones, of their class, masks true, copied; writes evaluation.json and a page."""
    from cardsynth.cards import read_cards
    from cardsynth.evaluation import evaluate as evaluate_cards
    from cardsynth.report import check_place, write_report
    from cardsynth.summary import in_short

    out = check_place(out or generated.with_name(f"{generated.name}_evaluation"))
    training, made = (read_cards(folder, parse_size(size), fit) for folder in (real, generated))
    unseen = read_cards(held_out, parse_size(size), fit) if held_out else None
    figures = evaluate_cards(training, made, unseen, net, weights, seed)
    page = write_report(out, training, made, figures, title=f"{generated.name}: {len(made)} generated cards")
    for line in in_short(asdict(figures)):
        question, value, of_real, difference = line.texts()
        print(f"{question:<42} {value:<24} real: {of_real:<24} {difference}")
    if any(copies.alarming for copies in figures.copies):
        print("WARNING: copies of training cards are among these; see the page.")
    print(f"Open {page}")


def doctor(
    run: Annotated[tyro.conf.Positional[Path], Text(help="Run folder, finished or not.")],
    real: Annotated[Path | None, Text(help="Card folder that it was trained on, to find copies by.")] = None,
    cards: Annotated[int, Text(help="Cards to draw, about.")] = 20,
) -> None:
    """Name what is wrong with a run, with cause and remedy; exit code 1 where there are errors."""
    from cardsynth.doctor import diagnose

    diagnosis = diagnose(run, real, cards)
    print(diagnosis.text())
    if not diagnosis.ok:
        sys.exit(1)


def compare(
    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], Text(help="Runs, or other folders of an evaluation.json.")],
) -> None:
    """Put evaluated models side by side, with intervals, and say which differences mean something."""
    from cardsynth.summary import compare as compare_evaluations
    from cardsynth.summary import read_evaluation

    print(compare_evaluations({run.name: read_evaluation(run) for run in runs}))


def push(
    repo_id: Annotated[str, Text(help="Repository on the Hub, like name/model.")],
    run: Annotated[Path | None, Text(help="Run folder to push.")] = None,
    cards: Annotated[Path | None, Text(help="Card folder to push as a data set.")] = None,
    private: Annotated[bool, Text(help="Make the repository private.")] = False,
) -> None:
    """Push a run or a card folder to the Hugging Face Hub; log in first with `hf auth login`."""
    from cardsynth.hub import push_cards, push_run

    if (run is None) == (cards is None):
        raise ValueError("say what to push: --run RUN or --cards FOLDER")
    url = push_run(run, repo_id, private=private) if run else push_cards(cards, repo_id, private=private)
    print(f"Pushed to {url}")


def pull(
    model: Annotated[tyro.conf.Positional[str], Text(help="Model id on the Hub, like name/model.")],
    revision: Annotated[str | None, Text(help="Branch, tag or commit.")] = None,
) -> None:
    """Pull a run from the Hugging Face Hub into its cache, and say where it lies."""
    from cardsynth.hub import pull_run

    print(pull_run(model, revision=revision))


def demo() -> None:
    """Draw cards, train on them, generate labelled cards and judge them: about ten minutes on a laptop."""
    if DEMO_PAGE.is_file():
        print(f"The demo has run already: open {DEMO_PAGE} in a browser.")
        print("To run it anew, delete runs/demo, runs/demo_cards and generated_cards/demo.")
        return
    print("Loading PyTorch ...", flush=True)
    import torch  # noqa: F401 (each of these takes seconds the first time, and says so)

    print("Loading diffusers ...", flush=True)
    import diffusers.training_utils  # noqa: F401

    from cardsynth.demo import run_demo

    page = run_demo(get_preset("demo"))
    print(f"Done. The cards are in {page.parent.parent}; open {page} in a browser.")


def settings_before(arguments: list[str]) -> TrainingConfig:
    """The settings that `train` starts from: those of --preset and --config, read ahead of its other options."""
    given = dict(pairwise(arguments))
    given |= dict(argument.split("=", 1) for argument in arguments if argument.startswith("--") and "=" in argument)
    config = get_preset(given.get("--preset", "demo"))
    return load_config(given["--config"], config) if "--config" in given else config


def main() -> None:
    """Run a command; bad input ends it with a message and exit code 1."""
    arguments = sys.argv[1:]
    try:
        train = train_with(settings_before(arguments) if arguments[:1] == ["train"] else get_preset("demo"))
        commands = (render, scans, check, train, doctor, generate, evaluate, compare, push, pull, demo)
        tyro.extras.subcommand_cli_from_dict(
            {command.__name__: command for command in commands},
            prog="cardsynth",
            description="Synthetic trading cards with surface damage, labelled down to the pixel.",
        )
    except KeyboardInterrupt:
        sys.exit(130)
    except ImportError as error:
        if error.name != "cv2":
            raise
        sys.exit(f"cardsynth: {error}")
    except (ValueError, RuntimeError, OSError) as error:
        if isinstance(error, RuntimeError) and not type(error).__module__.startswith("cardsynth"):
            raise
        sys.exit(f"cardsynth: {error}")


if __name__ == "__main__":
    main()
