"""The demo: draw cards, train on them, generate labelled cards, judge them."""

import shutil
from pathlib import Path

from tqdm.auto import tqdm

from cardsynth.cards.dataset import balance_report, read_cards, stack_cards
from cardsynth.cards.folder import REPORT_FOLDER, read_metadata
from cardsynth.cli.drive import drive
from cardsynth.core.config import TrainingConfig
from cardsynth.core.runs import load_model
from cardsynth.core.sampling import write_cards
from cardsynth.evaluation.evaluate import evaluate
from cardsynth.models import train
from cardsynth.plots.report import grid_by_class, write_report
from cardsynth.render.draw import draw_cards, render_cards

# Seeds from here on are never drawn for training, so that the model is judged by cards that it has not seen.
FRESH_SEED = 1_000_000
# One style, so that a small model learns it in minutes.
DEMO_STYLES = ("a",)


def run_demo(
    config: TrainingConfig,
    data: str | Path = "runs/demo_cards",
    run: str | Path = "runs/demo",
    out: str | Path = "generated_cards/demo",
    count: int = 2000,
    generated: int = 400,
    fresh: int = 1000,
) -> Path:
    """Go from nothing to judged, labelled, generated cards; what stands already is kept. Returns the page to open."""
    data, run, out = Path(data), Path(run), Path(out)
    print(f"1 of 4  Drawing {count} cards into {data}", flush=True)
    metadata = data / "metadata.jsonl"
    if not metadata.is_file() or len(read_metadata(metadata)) < count:
        render_cards(data, count, config.size, overwrite=True, styles=DEMO_STYLES)
    cards = read_cards(data, config.reading)
    print(balance_report(cards), flush=True)

    print(f"2 of 4  Training the `{config.preset}` preset on them into {run}", flush=True)
    drive(train(config, cards, run, resume=True), run)

    print(f"3 of 4  Generating {generated} labelled cards into {out}", flush=True)
    model = load_model(run)
    seeds = [seed for seed in range(generated) if not (out / f"{seed:06d}.png").exists()]
    if seeds:
        write_cards(model, out, seeds)

    page = out / REPORT_FOLDER / "index.html"
    print(f"4 of 4  Judging them by the training cards and {fresh} freshly drawn ones", flush=True)
    if seeds or not page.is_file():
        drawn = draw_cards(fresh, config.size, seed=FRESH_SEED, styles=DEMO_STYLES)
        held_out = stack_cards(tqdm(drawn, "Drawing fresh cards", fresh, unit="card"), "freshly drawn cards")
        made = read_cards(out, config.reading)
        evaluation = evaluate(cards, made, held_out)
        written = write_report(run, cards, made, evaluation, title=f"{out.name}: {len(made)} generated cards")
        page.parent.mkdir(exist_ok=True)
        grid_by_class(made).save(page.with_name("grid.png"))
        shutil.copyfile(written, page)
    return page
