"""The demo: draws cards, trains on them, generates labelled cards, and judges these."""

import shutil
from pathlib import Path

from cardsynth.core.config import TrainingConfig

# Training never uses seeds from here on, so the model is judged by cards that it has not seen.
FRESH_SEED = 1_000_000
# A single style, which a small model learns in minutes.
DEMO_STYLES = ("a",)
PAGE = Path("generated_cards/demo/report/index.html")


def demo() -> None:
    """Draw cards, train on them, generate labelled cards and judge them; takes about ten minutes on a laptop."""
    if PAGE.is_file():
        print(f"The demo is finished; open {PAGE} in a browser.")
        print("To run it again, delete runs/demo, runs/demo_cards and generated_cards/demo.")
        return
    # The first import of each takes seconds.
    print("Loading PyTorch ...", flush=True)
    import torch  # noqa: F401

    print("Loading diffusers ...", flush=True)
    import diffusers.training_utils  # noqa: F401

    from cardsynth.models import get_preset

    page = run_demo(get_preset("demo"))
    print(f"Done. The cards are in {page.parent.parent}; open {page} in a browser.")


def run_demo(
    config: TrainingConfig,
    data: str | Path = "runs/demo_cards",
    run: str | Path = "runs/demo",
    out: str | Path = "generated_cards/demo",
    count: int = 2000,
    generated: int = 400,
    fresh: int = 1000,
) -> Path:
    """Runs all steps from drawing to judging; a step whose result exists is skipped.

    Args:
        config: settings of the training.
        data: card folder of drawn cards to train on.
        run: run folder of the model.
        out: card folder of generated cards.
        count: number of drawn cards.
        generated: number of generated cards.
        fresh: number of freshly drawn cards that the generated ones are compared with.

    Returns:
        The page of results.
    """
    from tqdm.auto import tqdm

    from cardsynth.cards.dataset import balance_report, read_cards, stack_cards
    from cardsynth.cards.folder import REPORT_FOLDER, read_metadata
    from cardsynth.cli.drive import drive
    from cardsynth.core.runs import load_model
    from cardsynth.core.sampling import write_cards
    from cardsynth.evaluation.evaluate import evaluate
    from cardsynth.models import train
    from cardsynth.plots.report import grid_by_class, write_report
    from cardsynth.render.draw import draw_cards, render_cards

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
    missing = [seed for seed in range(generated) if not (out / f"{seed:06d}.png").exists()]
    if missing:
        write_cards(load_model(run), out, missing)

    page = out / REPORT_FOLDER / "index.html"
    print(f"4 of 4  Comparing them with the training cards and {fresh} freshly drawn cards", flush=True)
    if missing or not page.is_file():
        drawn = draw_cards(fresh, config.size, seed=FRESH_SEED, styles=DEMO_STYLES)
        held_out = stack_cards(tqdm(drawn, "Drawing fresh cards", fresh, unit="card"), "freshly drawn cards")
        made = read_cards(out, config.reading)
        evaluation = evaluate(cards, made, held_out)
        written = write_report(run, cards, made, evaluation, title=f"{out.name}: {len(made)} generated cards")
        page.parent.mkdir(exist_ok=True)
        grid_by_class(made).save(page.with_name("grid.png"))
        shutil.copyfile(written, page)
    return page
