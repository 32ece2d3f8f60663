from dataclasses import replace

import pytest
import torch
from torch import nn
from torchmetrics.functional.classification import multiclass_jaccard_index

from cardsynth.cards.dataset import Cards
from cardsynth.finder.config import FinderConfig
from cardsynth.finder.figures import detection_figures, pixel_counts
from cardsynth.finder.net import DamageFinder

LABELS = ("LIGHT", "SMALL")


class Painted(nn.Module):
    """A finder's net that sees what the cards' colours say: red is LIGHT, green SMALL."""

    def __init__(self):
        super().__init__()
        self.height = nn.Parameter(torch.tensor(20.0))

    def forward(self, images):
        background = torch.full_like(images[:, :1], 0.5)
        return self.height * torch.cat([background, images[:, :2]], dim=1)


FINDER = DamageFinder(Painted(), FinderConfig(encoder_depth=1, decoder_channels=(8,)), LABELS).eval()


def cards_of(seen, true, labels):
    """Cards on which a finder sees `seen`, class maps (N, H, W), and whose masks are where `true` is not 0."""
    pixels = torch.zeros(len(seen), 4, *seen.shape[1:], dtype=torch.uint8)
    for channel in (0, 1):
        pixels[:, channel] = 255 * (seen == channel + 1)
    pixels[:, 3] = 255 * (true > 0)
    return Cards(pixels, torch.tensor(labels), ("CLEAN", *LABELS))


@pytest.fixture
def true():
    maps = torch.zeros(30, 64, 48, dtype=torch.long)
    maps[0:10, 5:25, 5:25] = 1
    maps[10:20, 40:44, 8:12] = 2
    maps[10:20, 10:30, 30:40] = 2
    return maps


LABELS_OF_CARDS = [1] * 10 + [2] * 10 + [0] * 10


def test_what_is_found_exactly_is_all_found(true):
    figures = detection_figures(FINDER, cards_of(true, true, LABELS_OF_CARDS))
    assert figures.count == 30
    assert figures.iou == figures.dice == {"LIGHT": 1.0, "SMALL": 1.0}
    for figure in (figures.mean_iou, figures.any_iou, figures.map50, figures.map50_95):
        assert (figure.value, figure.low, figure.high) == pytest.approx((1, 1, 1))
    assert figures.confusion == [[10, 0, 0], [0, 20, 0], [0, 0, 0]]
    assert set(figures.precision_of_size) == {"medium", "large"}


def test_pixels_are_counted_as_torchmetrics_counts_them():
    random = torch.Generator().manual_seed(0)
    seen, true = (torch.randint(0, 3, (6, 16, 12), generator=random) for _ in range(2))
    shared, joined, area = pixel_counts(seen, true, 2)
    expected = multiclass_jaccard_index(seen, true, 3, average="none")[1:]
    assert torch.allclose(torch.tensor(shared.sum(0) / joined.sum(0)).float(), expected)
    assert (area == shared + joined).all()


def test_a_missed_class_and_false_alarms_stand_in_the_confusion(true):
    seen = true.clone()
    seen[10:15] = 0
    seen[0:4][seen[0:4] == 1] = 2
    seen[20:23, 2:8, 2:8] = 1
    figures = detection_figures(FINDER, cards_of(seen, true, LABELS_OF_CARDS))
    assert figures.confusion == [[6, 4, 0], [0, 10, 10], [3, 0, 0]]
    assert figures.iou["LIGHT"] == pytest.approx(6 * 400 / (10 * 400 + 3 * 36))
    assert figures.any_iou.value > figures.mean_iou.value
    assert 0 < figures.map50.value < 0.8
    assert figures.mean_iou.low < figures.mean_iou.value < figures.mean_iou.high


def test_boxes_half_off_count_at_a_low_threshold_alone(true):
    seen = torch.zeros_like(true)
    seen[0:10, 5:25, 9:29] = 1  # IoU of 16 / 24
    figures = detection_figures(FINDER, cards_of(seen[:10], true[:10], [1] * 10))
    assert figures.map50.value == pytest.approx(1)
    assert figures.map50_95.value == pytest.approx(0.4)  # 0.50 to 0.65 of ten thresholds
    assert figures.average_precision == {"LIGHT": pytest.approx(0.4)}


def test_cards_without_classes_have_damage_of_one_kind(true):
    cards = cards_of(true, (true == 1).long(), [0] * 30)
    finder = DamageFinder(FINDER.net, FINDER.config, ("damage", "never seen"))
    figures = detection_figures(finder, replace(cards, label_names=()))
    assert set(figures.iou) == {"damage"}
