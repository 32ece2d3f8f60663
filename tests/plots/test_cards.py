import io
from dataclasses import replace
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from PIL import Image

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import read_metadata
from cardsynth.core.runs import read_log
from cardsynth.evaluation.classes import class_figures
from cardsynth.evaluation.copies import Nearest, copying
from cardsynth.models import open_model
from cardsynth.notebook.panel import GeneratorPanel, find_runs, read_generated
from cardsynth.plots.cards import (
    DARK,
    MASK_COLOUR,
    WARNING,
    figure_png,
    plot_classes,
    plot_confusion,
    show_classes,
    show_images,
    show_nearest,
    show_side_by_side,
)
from cardsynth.plots.curves import plot_log


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def tiles(figure):
    """Drawn pictures, from top to bottom and left to right."""
    images = sorted(figure.axes[0].images, key=lambda image: (round(image.get_extent()[3], 3), image.get_extent()[0]))
    return [np.asarray(image.get_array()) for image in images]


def flat_cards(values, labels=(), label_names=()):
    """Cards of 8x6 of one grey each, without masks."""
    pixels = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 6).contiguous()
    return Cards(pixels, torch.tensor(labels or [0] * len(values)), tuple(label_names))


def greys(figure):
    return [int(tile[0, 0, 0]) for tile in tiles(figure)]


def figures(confusion):
    """What a classifier says of cards, from how often it says what."""
    pairs = [(row, column) for (row, column), count in np.ndenumerate(confusion) for _ in range(count)]
    labels, said = torch.tensor(pairs).T
    return class_figures("mine", labels, said, ["A", "B"][: len(confusion)])


class TestCardFigures:
    def test_images_keep_their_colours_and_order(self):
        figure = show_images(flat_cards([10, 20, 30, 40, 50]).pixels, list("abcde"), columns=3)
        assert greys(figure) == [10, 20, 30, 40, 50]
        assert texts(figure) == list("abcde")
        assert tiles(figure)[0].shape[0] / tiles(figure)[0].shape[1] == 8 / 6

    def test_masks_are_outlined_along_their_edge_and_nowhere_else(self):
        pixels = torch.zeros(1, 4, 40, 32, dtype=torch.uint8)
        pixels[0, 3, 10:30, 8:24] = 255
        pink = (tiles(show_images(pixels))[0] == MASK_COLOUR).all(axis=-1)
        rows, columns = np.nonzero(pink)
        zoom = pink.shape[0] // 40
        assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == tuple(
            zoom * side for side in (10, 30, 8, 24)
        )
        assert not pink[12 * zoom : 28 * zoom, 10 * zoom : 22 * zoom].any()
        assert not (tiles(show_images(pixels, masks=False))[0] == MASK_COLOUR).all(axis=-1).any()

    def test_long_titles_do_not_run_into_each_other(self):
        titles = [f"WHITE_MARKS of seed {seed}\nand a second line" for seed in range(8)]
        figure = show_images(flat_cards(range(8)).pixels, titles)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert all(one.x1 <= other.x0 for one, other in pairwise(boxes))
        assert all(
            box.y0 >= image.get_window_extent().y1 for box, image in zip(boxes, figure.axes[0].images, strict=True)
        )

    def test_titles_of_another_number_and_no_pictures_are_refused(self):
        with pytest.raises(ValueError, match="2 pictures and 1 titles"):
            show_images(flat_cards([1, 2]).pixels, ["one"])
        with pytest.raises(ValueError, match="no pictures"):
            show_images(flat_cards([1]).pixels[:0])

    def test_classes_have_a_row_each(self):
        cards = flat_cards([10, 20, 11, 12, 21], [0, 1, 0, 0, 1], ["LIGHT", "SMALL"])
        figure = show_classes(cards, per_class=2)
        assert greys(figure) == [10, 11, 20, 21]
        assert texts(figure) == ["LIGHT", "SMALL"]

    def test_nearest_pairs_come_closest_first(self):
        generated, training = flat_cards([50, 60, 70]), flat_cards([69, 51, 0])
        nearest = Nearest(torch.tensor([1, 1, 0]), torch.tensor([1.0, 9.0, 0.5]))
        figure = show_nearest(generated, training, copying(nearest, nearest, "grey levels"), count=2)
        assert greys(figure) == [70, 50, 69, 51]
        assert texts(figure)[:2] == ["0.5", "1.0"]

    def test_side_by_side_goes_by_the_names_of_classes(self):
        real = flat_cards([10, 20, 30], [0, 1, 2], ["A", "B", "C"])
        generated = flat_cards([31, 21], [0, 1], ["C", "B"])
        figure = show_side_by_side(real, generated, per_class=2)
        assert greys(figure) == [10, 20, 21, 30, 31]
        lefts = [image.get_extent()[0] for image in figure.axes[0].images]
        assert min(lefts[2], lefts[4]) > 2
        assert texts(figure) == ["A", "B", "C", "real", "generated"]
        with pytest.raises(ValueError, match=r"\(8, 6\) and \(4, 6\)"):
            show_side_by_side(real, replace(generated, pixels=generated.pixels[:, :, :4]))

    def test_cards_without_classes_are_shown_too(self):
        assert greys(show_classes(flat_cards([1, 2, 3]))) == [1, 2, 3]
        assert greys(show_side_by_side(flat_cards([1, 2]), flat_cards([3]), per_class=2)) == [1, 2, 3]


class TestCharts:
    def test_rare_classes_stand_out(self):
        figure = plot_classes({"A": 90, "B": 29, "C": 30})
        colours = [bar.get_facecolor() for bar in figure.axes[0].patches]
        assert colours == [to_rgba(colour) for colour in (DARK, WARNING, DARK)]
        assert texts(figure) == ["90  (60%)", "29  (19%)", "30  (20%)"]
        with pytest.raises(ValueError, match="no labels"):
            plot_classes({})

    def test_a_confusion_matrix_shows_counts_and_shares_of_the_row(self):
        figure = plot_confusion(figures([[3, 1], [0, 0]]), figures([[2, 0], [1, 7]]))
        generated, held_out = ([text.get_text() for text in axes.texts] for axes in figure.axes)
        assert generated == ["3\n75%", "1\n25%", "0", "0"]
        assert held_out == ["2\n100%", "0", "1\n12%", "7\n88%"]
        assert [axes.get_title() for axes in figure.axes] == ["4 generated cards", "10 real cards, held out"]
        assert len(plot_confusion(figures([[1]])).axes) == 1


def test_figures_are_whole_pictures_and_leave_pyplot_alone(trained_run):
    before = plt.get_fignums()
    for figure in (plot_log(read_log(trained_run)), show_images(flat_cards([7, 9]).pixels)):
        image = Image.open(io.BytesIO(figure_png(figure))).convert("RGB")
        assert figure._repr_png_() == figure_png(figure)
        assert len(image.getcolors(1_000_000)) > 2
    assert plt.get_fignums() == before


class TestGeneratorPanel:
    @pytest.fixture
    def panel(self, trained_run, tmp_path):
        return GeneratorPanel(trained_run.parent, tmp_path / "made")

    def test_it_offers_what_the_model_knows(self, panel, trained_run, cards):
        assert panel.run.options == ((trained_run.name, str(trained_run)),)
        assert tuple(value for _, value in panel.label.options) == (None, *cards.label_names)
        assert panel.guidance.value == open_model(trained_run).config.guidance_scale

    def test_the_button_writes_and_shows_the_cards_asked_for(self, panel, tmp_path):
        panel.label.value, panel.count.value, panel.first_seed.value = "SMALL", 3, 5
        panel.sampler.value, panel.guidance.value = "ddim", 2.0
        panel.button.click()
        rows = read_metadata(tmp_path / "made/smoke/metadata.jsonl")
        assert [row["seed"] for row in rows] == [5, 6, 7]
        assert {(row["label"], row["sampler"], row["guidance_scale"]) for row in rows} == {("SMALL", "ddim", 2.0)}
        assert "3 cards are in" in panel.status.value
        assert Image.open(io.BytesIO(panel.picture.value)).width > 200
        assert panel.picture.layout.display != "none"

    def test_an_error_is_shown_and_the_panel_goes_on(self, panel, tmp_path):
        panel.count.value = 2
        panel.button.click()
        card = tmp_path / "made/smoke/000000.png"
        before = card.stat().st_mtime_ns
        panel.guidance.value = 3.0
        panel.button.click()
        assert "CardError" in panel.status.value
        assert "exists already" in panel.status.value
        assert panel.picture.layout.display == "none"
        assert card.stat().st_mtime_ns == before
        panel.overwrite.value = True
        panel.button.click()
        assert "2 cards are in" in panel.status.value
        assert card.stat().st_mtime_ns > before

    def test_a_model_that_cannot_be_had_is_named_and_another_chosen(self, panel, trained_run):
        panel.hub_id.value = "no <such> model"
        assert "HubError" in panel.status.value
        assert "no &lt;such&gt; model" in panel.status.value
        assert panel.button.disabled
        panel.hub_id.value = ""
        assert not panel.button.disabled
        assert panel.trained.name == trained_run.name

    def test_without_any_run_it_says_what_to_do(self, tmp_path):
        panel = GeneratorPanel(tmp_path, tmp_path)
        assert panel.button.disabled
        assert "02_train" in panel.status.value
        panel.button.click()
        assert panel.button.disabled
        assert "02_train" in panel.status.value
        assert list(tmp_path.iterdir()) == []

    def test_only_runs_with_a_saved_model_are_found(self, run_copy):
        assert find_runs(run_copy.parent) == [run_copy]
        (run_copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        assert find_runs(run_copy.parent) == []

    def test_cards_read_back_are_those_written(self, panel, tmp_path):
        panel.count.value = 2
        panel.button.click()
        pixels = read_generated(tmp_path / "made/smoke", [1, 0])
        assert pixels.shape == (2, 4, *panel.trained.config.size)
        stored = np.asarray(Image.open(tmp_path / "made/smoke/000001.png"))
        assert np.array_equal(pixels[0, :3].permute(1, 2, 0).numpy(), stored)
        assert np.array_equal(pixels[1, 3].numpy(), np.asarray(Image.open(tmp_path / "made/smoke/masks/000000.png")))
