import ast
import json
import re
from itertools import takewhile
from pathlib import Path

import nbformat
import pytest
from run_notebooks import ROOT, clean, run_notebooks
from tiny_diffusion import make_clip, make_stable_diffusion

from cardsynth.cards.folder import read_metadata
from cardsynth.core.runs import read_manifest
from cardsynth.evaluation.similarity.tables import read_ratings
from cardsynth.latents.video import read_film

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {
    "preset": "smoke",
    "cards_to_draw": 30,
    "cards_to_generate": 10,
    "fresh_cards": 40,
    "sampler_steps": {"dpmsolver++": 2, "unipc": 2, "ddim": 2, "ddpm": 2},
    "guidance_scales": (1.0, 2.0),
    "cards_to_compare": 1,
    "way_cards": 3,
    "grid_size": (2, 2),
    "pairs_to_measure": 2,
    "film_seconds": 0.5,
    "inversion_steps": 3,
    "text_cards": 8,
    "card_size": (40, 24),
    "text_settings": {
        "max_train_steps": 3,
        "train_batch_size": 8,
        "lora_rank": 4,
        "num_inference_steps": 1,
        "validation_images": 2,
        "mixed_precision": "no",
    },
    "seeds_to_judge": 2,
    "size": (48, 32),
    "real_cards": 20,
    "test_cards": 10,
    "clean_cards": 4,
    "counts": (2,),
    "draws": 2,
    "finder_steps": 3,
    "generator_steps": 2,
    "workers": 1,
    "ablation_workers": 1,
    "epochs": (0, 1),
}
HELD_SEEDS = {"held_out": 1_000_000, "learn_from": 2_000_000}


def small_sweeps(folder):
    """Files of a comparison and of an ablation that take seconds, as notebook 07 names them."""
    two = {"styles": ["a"], "classes": ["CLEAN", "FULL_CARD"]}
    held = {name: {"count": 60, "seed": seed, "size": [40, 32]} | two for name, seed in HELD_SEEDS.items()}
    said = {"preset": "smoke", "data": {"count": 40} | two, "judge": {"count": 40} | held}
    models = [{"preset": preset} for preset in ("smoke", "smoke_dcgan", "smoke_vae")]
    seen = {"save_image_epochs": 1, "eval_batch_size": 3}
    compared = said | {"list": models, "settings": seen, "seconds": 0.3}
    ablation = said | {"grid": {"label_dropout": [0.1, 0.5]}, "settings": {"max_train_steps": 2}, "quick": {}}
    for name, content in (("compared", compared), ("dropout", ablation)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return {"comparison": str(folder / "compared.json"), "ablations": (str(folder / "dropout.json"),)}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A repository in which a small run of all notebooks took place, every cell run twice; and the notebooks."""
    folder, nets = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("nets")
    pretrained = {"base_model": str(make_stable_diffusion(nets / "sd")), "clip_model": str(make_clip(nets / "clip"))}
    pretrained |= small_sweeps(nets)
    (folder / "notebooks").mkdir()
    copies = [folder / "notebooks" / path.name for path in NOTEBOOKS]
    for path, copy in zip(NOTEBOOKS, copies, strict=True):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for original in notebook.cells for cell in twice(original)]
        nbformat.write(notebook, copy)
    return folder, run_notebooks(copies, SMALL | pretrained, timeout=600)


def twice(cell):
    """The cell and, but for text and settings, the cell once more."""
    again = [] if cell.cell_type != "code" or cell.metadata.get("tags") else [nbformat.v4.new_code_cell(cell.source)]
    return [cell, *again]


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def parsed(cell):
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")))


@pytest.mark.slow
def test_notebooks_leave_the_folders_that_the_next_ones_take(executed):
    folder, _ = executed
    drawn = read_metadata(folder / "runs/demo_cards/metadata.jsonl")
    assert len(drawn) == 30
    assert all((folder / "runs/demo_cards" / row["mask_file_name"]).is_file() for row in drawn)
    run = folder / "runs/demo"
    assert read_manifest(run)["steps"] == 8
    assert (run / "unet/diffusion_pytorch_model.safetensors").is_file()
    assert len(list((run / "samples").glob("*.png"))) >= 1
    made = read_metadata(folder / "generated_cards/demo/metadata.jsonl")
    assert [row["seed"] for row in made] == list(range(10))
    assert {row["label"] for row in made} == {row["label"] for row in drawn}
    assert all((folder / "generated_cards/demo" / row["mask_file_name"]).is_file() for row in made)
    damaged = read_metadata(folder / "generated_cards/demo_damaged/metadata.jsonl")
    assert len(damaged) == 4
    assert all((folder / "runs/demo_clean" / row["source"]).is_file() for row in damaged)
    figures = json.loads((folder / "runs/demo/evaluation.json").read_text())
    assert figures["counts"]["generated"] == 10
    assert len(figures["copies"][0]["nearest"]) == 10
    assert (folder / "runs/demo/evaluation.html").stat().st_size > 10_000


@pytest.mark.slow
def test_pairs_to_rate_and_simulated_ratings_are_left_and_nobody_rated(executed):
    left = executed[0] / "runs/similarity"
    assert {path.name for path in left.iterdir()} == {"pictures", "simulated.csv"}
    ratings = read_ratings(left / "simulated.csv")
    assert {rating.rater for rating in ratings} == {"simulated 1", "simulated 2", "simulated 3"}
    named = {name for rating in ratings for name in (rating.pair.first, rating.pair.second)}
    assert {path.name for path in (left / "pictures").iterdir()} == named
    assert (len(ratings), len(named)) == (45, 16)


@pytest.mark.slow
def test_adapters_pictures_and_their_log_are_left(executed):
    folder, _ = executed
    assert read_manifest(folder / "runs/text")["steps"] == 3
    assert (folder / "runs/text/pytorch_lora_weights.safetensors").is_file()
    captioned = read_metadata(folder / "runs/text_cards/metadata.jsonl")
    assert len({row["text"] for row in captioned}) == 8
    judged = json.loads((folder / "generated_cards/text_judged/judgement.json").read_text())
    assert len(judged["pictures"]) == 10
    assert judged["clip"].startswith("clip ")
    assert len((folder / "runs/text_log.csv").read_text().splitlines()) == 11


@pytest.mark.slow
def test_a_trial_is_left_with_what_it_shows(executed):
    left = executed[0] / "runs/trial_small"
    assert "of 4 ways to add synthetic cards" in (left / "trial.md").read_text()
    assert (left / "trial.png").stat().st_size > 5000
    assert len(list((left / "results").iterdir())) == 10


@pytest.mark.slow
def test_a_comparison_is_left_with_its_models_and_tables(executed):
    left = executed[0] / "runs/compare_models"
    assert len(list((left / "runs").glob("*/evaluation.json"))) == 3
    page = (left / "sweep.md").read_text()
    assert all(f"preset={preset}" in page for preset in ("smoke", "smoke_dcgan", "smoke_vae"))
    assert "label_dropout" in (executed[0] / "runs/dropout/sweep.md").read_text()


@pytest.mark.slow
def test_films_are_left(executed):
    films = executed[0] / "generated_cards/demo_films"
    assert {path.name: len(list(read_film(path))) for path in films.iterdir()} == {"walk.mp4": 6, "walk.gif": 6}


@pytest.mark.slow
def test_notebooks_write_nothing_else(executed):
    folder, _ = executed
    assert {path.name for path in folder.iterdir()} == {"notebooks", "runs", "generated_cards"}
    made = {path.name for path in (folder / "runs").iterdir()}
    scanned = {"demo_pages", "demo_pages_cards", "demo_pages_cards_review"}
    drawn = {"demo_cards", "demo_clean", "trial_cards", "text_cards"}
    compared = {"compare_models", "dropout"}
    assert made == scanned | drawn | {"demo", "similarity", "trial_small", "text", "text_log.csv", *compared}
    assert {path.name for path in (folder / "notebooks").iterdir()} == {path.name for path in NOTEBOOKS}


@pytest.mark.slow
def test_notebooks_show_what_they_make(executed):
    _, notebooks = executed
    pictures = [
        sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))
        for notebook in notebooks
    ]
    assert all(count >= 3 for count in pictures), pictures


@pytest.mark.slow
def test_a_cleaned_notebook_is_fit_to_be_committed(executed):
    folder, notebooks = executed
    for notebook in notebooks:
        text = nbformat.writes(clean(notebook, folder))
        assert str(folder) not in text
        assert str(Path.home()) not in text
        assert '"execution_count": null' in text
        assert not re.search(r'"execution_count": \d', text)
        assert "widget-view" not in text
    tagged = [cell.source for cell in notebooks[0].cells if cell.metadata.get("tags")]
    assert tagged == [cell.source for cell in code_cells(NOTEBOOKS[0]) if cell.metadata.get("tags")]
    assert len(tagged) == 1


def imports_alone(cell):
    return {type(node) for node in parsed(cell).body} <= {ast.Import, ast.ImportFrom}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestRules:
    def test_cells_are_short_and_define_nothing(self, path):
        for cell in code_cells(path):
            assert len(cell.source.splitlines()) <= 12, cell.source
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
            assert not any(isinstance(node, kinds) for node in ast.walk(parsed(cell))), cell.source

    def test_imports_come_first_and_then_the_settings(self, path):
        cells = code_cells(path)
        imports = list(takewhile(imports_alone, cells))
        settings, *others = cells[len(imports) :]
        assert 1 <= len(imports) <= 3
        assert settings.metadata.tags == ["parameters"]
        assert all(isinstance(node, ast.Assign) for node in parsed(settings).body)
        for cell in others:
            assert "parameters" not in cell.metadata.get("tags", ())
            assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(parsed(cell)))
            assert "smoke" not in cell.source

    def test_every_step_is_introduced_in_words(self, path):
        cells = nbformat.read(path, as_version=4).cells
        assert cells[0].cell_type == "markdown"
        questions = [cell for cell in cells if cell.cell_type == "markdown" and "?" in cell.source]
        assert len(questions) >= 5
        assert all(len(cell.source) < 1200 for cell in cells if cell.cell_type == "markdown")

    def test_outputs_tell_nothing_of_a_machine(self, path):
        for cell in code_cells(path):
            assert cell.execution_count is None
            for output in cell.outputs:
                assert output.output_type != "error"
                shown = json.dumps({kind: text for kind, text in output.get("data", {}).items() if "image" not in kind})
                shown += output.get("text", "")
                assert not re.search(r"hf_\w{8}|(?<![\w.])/(home|root|work|tmp|Users|mnt|usr)/|[A-Z]:\\\\", shown), (
                    shown
                )
        assert path.stat().st_size < 3_000_000
