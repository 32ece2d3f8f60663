"""Commands of text to card: captions, fine-tuning of Stable Diffusion, drawing from prompts, and evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from cardsynth.cli.options import FLAT, OVERWRITE, REVISION, SIZE, parse_seeds, parse_size, read_options
from cardsynth.text.config import TextConfig
from cardsynth.util.settings import about, load_config

MODEL = about("Run folder or Hub id of train-text, a checkpoint of a run, or a Stable Diffusion.")
STEPS = about("Calls of the net for each picture; default: the run's own.")
GUIDANCE = about("Classifier-free guidance; 1: none; default: the run's own.")
BASE = about("Base model of the adapters; default: the run's own.")
DEFAULTS = TextConfig()


def caption(
    folder: Annotated[tyro.conf.Positional[Path], about("A card folder, or a folder of scans; also --data.")],
    trigger: Annotated[str, about("Word that stands for your cards, best without a meaning yet.")] = "crdbck",
    template: Annotated[
        tuple[str, ...], about("Templates with {trigger}, {damage}, {column}; [parts] with unknown values are omitted.")
    ] = (),
    seed: Annotated[int, about("Seed of the choice of templates.")] = 0,
    overwrite: Annotated[bool, about("Replace existing captions.")] = False,
) -> None:
    """Write captions into the metadata, from class, damage, decade, stock and other columns of each card."""
    from cardsynth.text.captions import TEMPLATES, captions_of, check_captions, write_captions

    written = write_captions(folder, trigger, template or TEMPLATES, seed, overwrite)
    captions = captions_of(folder)
    for name in list(written)[:5]:
        print(f"{name}: {captions[name]}")
    kept = len(captions) - len(written)
    print(f"{len(written)} captions written, {kept} kept{' (--overwrite replaces them)' * bool(kept)}")
    for problem in check_captions(captions):
        print(f"{problem.level:>9}  {problem.file}: {problem.reason}; {problem.remedy}")


def initial_settings(arguments: Sequence[str]) -> TextConfig:
    """Reads the settings that --config names: the defaults of the other options of `train-text`."""
    (config,), _ = read_options(arguments, "--config")
    return load_config(config, DEFAULTS) if config else DEFAULTS


def train_text(
    data: Annotated[str, about("Card folder with captions, or a data set id on the Hub.")],
    out: Annotated[Path, about("Run folder to write.")] = Path("runs/text"),
    config: Annotated[Path | None, about("JSON file of settings that replace the defaults.")] = None,
    resume: Annotated[bool, about("Resume from the run's last checkpoint.")] = False,
    overwrite: Annotated[bool, about("Replace an existing run.")] = False,
    estimate: Annotated[bool, about("Only estimate the memory.")] = False,
    memory_gb: Annotated[float | None, about("With --estimate: memory of the GPU; default: this machine's.")] = None,
    settings: Annotated[TextConfig, FLAT] = DEFAULTS,
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
    print(f'The run is in {out}. To use it: cardsynth generate-text --model {out} --prompt "a {settings.trigger} ..."')
    if settings.push_to_hub:
        print(f"Pushed to {push_run(out, settings.hub_model_id, private=settings.hub_private_repo)}")


def generate_text(
    model: Annotated[str, MODEL],
    prompt: Annotated[tuple[str, ...], about("What to draw; each prompt is drawn from every seed.")],
    negative_prompt: Annotated[str | None, about("What guidance leads away from.")] = None,
    seeds: Annotated[str, about("Seeds, like 0-63 or 3,16; a picture's file name is its seed.")] = "0-15",
    out: Annotated[Path | None, about("Card folder to write; default: generated_cards/MODEL.")] = None,
    size: Annotated[str | None, SIZE] = None,
    num_inference_steps: Annotated[int | None, STEPS] = None,
    guidance_scale: Annotated[float | None, GUIDANCE] = None,
    base: Annotated[str | None, BASE] = None,
    revision: Annotated[str | None, REVISION] = None,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Draw pictures from prompts into a card folder, with the prompts as captions."""
    from cardsynth.text.draw import open_text_model, write_pictures

    text_model = open_text_model(model, revision, base)
    drawing = text_model.with_options(
        size=size and parse_size(size),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
    )
    out = out or Path("generated_cards") / text_model.name.replace("/", "--")
    pictures = write_pictures(text_model, out, prompt, parse_seeds(seeds), drawing, overwrite)
    withheld = [picture.withheld for _, picture in pictures]
    print(f"{withheld.count(False)} pictures are in {out}")
    if text_model.checks_safety:
        print(f"{withheld.count(True)} were withheld by the model's safety checker")


def judge_text(
    model: Annotated[str, MODEL],
    prompt: Annotated[tuple[str, ...], about("Prompts that combine the trigger with other words; default: four.")] = (),
    seeds: Annotated[str, about("Seeds of each prompt, like 0-7.")] = "0-3",
    data: Annotated[Path | None, about("Card folder of the training, to search for near-copies.")] = None,
    clip: Annotated[str | None, about("CLIP on this disk, a folder or Hub id; default: no CLIP score.")] = None,
    out: Annotated[Path | None, about("Folder of pictures and figures; default: generated_cards/MODEL_judged.")] = None,
    log: Annotated[Path, about("CSV file of all results, with a column for your remarks.")] = Path("runs/text_log.csv"),
    num_inference_steps: Annotated[int | None, STEPS] = None,
    guidance_scale: Annotated[float | None, GUIDANCE] = None,
    trigger: Annotated[str | None, about("Trigger word; default: the run's own.")] = None,
    base: Annotated[str | None, BASE] = None,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Judge a text-to-card model: CLIP score by prompt style, nearest training pictures, withheld pictures."""
    from cardsynth.text.draw import open_text_model
    from cardsynth.text.judge import ClipScorer, judge, prompt_styles
    from cardsynth.text.log import add_to_log

    scorer = ClipScorer(clip) if clip else None
    text_model = open_text_model(model, base=base)
    out = out or Path("generated_cards") / f"{text_model.name.replace('/', '--')}_judged"
    styles = prompt_styles(trigger or text_model.trigger, prompt)
    drawing = text_model.with_options(num_inference_steps=num_inference_steps, guidance_scale=guidance_scale)
    report = judge(text_model, styles, parse_seeds(seeds), out, drawing, data, scorer, overwrite)
    print(report.text())
    print(f"{add_to_log(log, report)} new rows in {log}; fill in the column `remark`, existing remarks stay")
