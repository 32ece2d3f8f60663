"""Commands of text to card: captions, fine-tuning of Stable Diffusion, and its judging."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from cardsynth.cli.options import Text, parse_seeds, read_ahead
from cardsynth.text.config import TextConfig
from cardsynth.util.settings import load_config


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
    from cardsynth.text.captions import TEMPLATES, captions_of, check_captions, write_captions

    written = write_captions(folder, trigger, template or TEMPLATES, seed, overwrite)
    captions = captions_of(folder)
    for name in list(written)[:5]:
        print(f"{name}: {captions[name]}")
    kept = len(captions) - len(written)
    print(f"{len(written)} captions written, {kept} that were there kept{' (--overwrite replaces them)' * bool(kept)}")
    for problem in check_captions(captions):
        print(f"{problem.level:>9}  {problem.file}: {problem.reason}; {problem.remedy}")


def text_settings_before(arguments: list[str]) -> TextConfig:
    """The settings that `train-text` starts from: those of --config, read ahead of its other options."""
    given = read_ahead(arguments)
    return load_config(given["--config"], TextConfig()) if "--config" in given else TextConfig()


def train_text_with(defaults: TextConfig) -> Callable[..., None]:
    """The command `train-text`, whose settings start from `defaults`."""

    def train_text(
        data: Annotated[str, Text(help="Card folder with captions, or a data set id on the Hub.")],
        out: Annotated[Path, Text(help="Run folder to write.")] = Path("runs/text"),
        config: Annotated[Path | None, Text(help="JSON file of settings that replace the defaults.")] = None,
        resume: Annotated[bool, Text(help="Go on from the run's last checkpoint.")] = False,
        overwrite: Annotated[bool, Text(help="Replace a run that is there.")] = False,
        estimate: Annotated[bool, Text(help="Say what memory the run takes, and do not start it.")] = False,
        memory_gb: Annotated[float | None, Text(help="With --estimate: what the GPU has; default: this one's.")] = None,
        settings: Annotated[TextConfig, Text(name="")] = defaults,
    ) -> None:
        """Fine-tune Stable Diffusion on captioned cards into a run folder; Ctrl-C saves a checkpoint first."""
        if estimate:
            import torch

            from cardsynth.doctor.estimate import free_memory_gb
            from cardsynth.text.estimate import estimate_text

            if memory_gb is None and torch.cuda.is_available():
                memory_gb = free_memory_gb(torch.device("cuda"))
            print(estimate_text(settings).text(memory_gb))
            return
        from cardsynth.cli.drive import drive
        from cardsynth.hub.push_pull import push_run
        from cardsynth.text.train import train_text as train

        drive(train(settings, data, out, resume=resume, overwrite=overwrite), out)
        print(
            f'The run is in {out}; draw from it: cardsynth generate --model {out} --prompt "a {settings.trigger} ..."'
        )
        if settings.push_to_hub:
            print(f"Pushed to {push_run(out, settings.hub_model_id, private=settings.hub_private_repo)}")

    return train_text


def draw_prompts(
    model: str,
    prompts: tuple[str, ...],
    negative_prompt: str | None,
    seeds: list[int],
    out: Path | None,
    steps: int | None,
    guidance: float | None,
    size: tuple[int, int] | None,
    base: str | None,
    revision: str | None,
    overwrite: bool,
) -> None:
    """Draw pictures from prompts into a card folder: what `generate --prompt` does."""
    from cardsynth.text.draw import open_text_model, write_pictures

    loaded = open_text_model(model, revision, base)
    drawing = loaded.with_options(
        size=size, num_inference_steps=steps, guidance_scale=guidance, negative_prompt=negative_prompt
    )
    out = out or Path("generated_cards") / loaded.name.replace("/", "--")
    withheld = [picture.withheld for _, picture in write_pictures(loaded, out, prompts, seeds, drawing, overwrite)]
    print(f"{withheld.count(False)} pictures are in {out}")
    if loaded.checks_safety:
        print(f"{withheld.count(True)} were withheld by the model's safety checker")


def judge_text(
    model: Annotated[str, Text(help="Run folder or Hub id of train-text, a checkpoint of it, or a Stable Diffusion.")],
    prompt: Annotated[tuple[str, ...], Text(help="Prompts of the trigger with other words; default: four.")] = (),
    seeds: Annotated[str, Text(help="Seeds of each prompt, like 0-7.")] = "0-3",
    training: Annotated[Path | None, Text(help="Card folder that it was trained on, to find the nearest by.")] = None,
    clip: Annotated[str | None, Text(help="CLIP on this disk, a folder or Hub id; none given: no CLIP score.")] = None,
    out: Annotated[
        Path | None, Text(help="Folder of pictures and figures; default: generated_cards/MODEL_judged.")
    ] = None,
    log: Annotated[Path, Text(help="CSV of all that was judged, with a column for your remarks.")] = Path(
        "runs/text_log.csv"
    ),
    steps: Annotated[int | None, Text(help="Sampler steps a picture; default: the run's.")] = None,
    guidance: Annotated[float | None, Text(help="Guidance scale; default: the run's.")] = None,
    trigger: Annotated[str | None, Text(help="Trigger word; default: the run's.")] = None,
    base: Annotated[str | None, Text(help="Base model of adapters; default: the run's.")] = None,
    overwrite: Annotated[bool, Text(help="Replace pictures that are there.")] = False,
) -> None:
    """Judge a text-to-card model: CLIP score by prompt style, nearest training pictures, what was withheld."""
    from cardsynth.text.draw import open_text_model
    from cardsynth.text.judge import ClipScorer, judge, prompt_styles
    from cardsynth.text.log import add_to_log

    scorer = ClipScorer(clip) if clip else None
    loaded = open_text_model(model, base=base)
    out = out or Path("generated_cards") / f"{loaded.name.replace('/', '--')}_judged"
    styles = prompt_styles(trigger or loaded.trigger, prompt)
    drawing = loaded.with_options(num_inference_steps=steps, guidance_scale=guidance)
    found = judge(loaded, styles, parse_seeds(seeds), out, drawing, training, scorer, overwrite)
    print(found.text())
    added = add_to_log(log, found)
    print(f"{added} new rows in {log}: fill in its column remark; what stands there stays")
