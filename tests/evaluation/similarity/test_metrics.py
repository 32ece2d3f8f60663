"""Metrics of pairs, against formulas written out with numpy, and in known cases."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
import torchvision
from torch import nn

from cardsynth.evaluation.features import FeatureNet, FeatureNetError
from cardsynth.evaluation.similarity import metrics as similarity
from cardsynth.evaluation.similarity.agreement import SIGNS
from cardsynth.evaluation.similarity.metrics import ALEXNET, METRICS, compare_pairs, lpips_backbone


@pytest.fixture(scope="module")
def pictures():
    """Pairs uint8 (4, 3, 40, 33): speckles and smooth ones, the second a disturbed first."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:40, 0:33]
    smooth = 128 + 100 * np.sin(rows / 6 + np.arange(3)[:, None, None]) * np.cos(columns / 5)
    first = np.stack([rng.uniform(0, 255, (3, 40, 33)), smooth, smooth[::-1] / 2, rng.uniform(90, 99, (3, 40, 33))])
    second = first + rng.normal(0, [[[[3]]], [[[30]]], [[[10]]], [[[40]]]], first.shape)
    return tuple(torch.from_numpy(values.round().clip(0, 255).astype(np.uint8)) for values in (first, second))


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A torch.hub folder that holds an AlexNet with random convolutions, and the digits of its hash."""
    folder = tmp_path_factory.mktemp("torch") / "hub"
    (folder / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    net = torchvision.models.alexnet(weights=None)
    nothing = torch.zeros(1)
    state = {
        name: value if name.startswith("features") else nothing.expand(value.shape)
        for name, value in net.state_dict().items()
    }
    path = folder / "checkpoints" / ALEXNET
    torch.save(state, path)
    return folder, hashlib.sha256(path.read_bytes()).hexdigest()[:8]


@pytest.fixture
def with_alexnet(hub, monkeypatch):
    monkeypatch.setattr(similarity, "ALEXNET_SHA256", hub[1])
    monkeypatch.setenv("TORCH_HOME", str(hub[0].parent))
    return hub[0]


def ssim_by_hand(one, other):
    """Equation 13 of Wang et al. 2004 in every window of 11 x 11 that lies inside, for pictures (C, H, W) in 0 to 1."""
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    found = []
    for top in range(one.shape[1] - 10):
        for left in range(one.shape[2] - 10):
            x, y = (values[:, top : top + 11, left : left + 11] for values in (one, other))
            mean_x, mean_y = (x * weights).sum((1, 2)), (y * weights).sum((1, 2))
            variance_x = (weights * (x - mean_x[:, None, None]) ** 2).sum((1, 2))
            variance_y = (weights * (y - mean_y[:, None, None]) ** 2).sum((1, 2))
            both = (weights * (x - mean_x[:, None, None]) * (y - mean_y[:, None, None])).sum((1, 2))
            luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
            found.append(luminance * (2 * both + 0.03**2) / (variance_x + variance_y + 0.03**2))
    return np.mean(found)


def lpips_by_hand(one, other):
    """Equation 1 of Zhang et al. 2018 for pictures (C, H, W) in 0 to 1, with the linear weights that come along."""
    net = torchvision.models.alexnet(weights="DEFAULT").eval().features[:-1]
    linear = torch.load(Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth", "cpu")
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])[:, None, :, None, None]
    layers = [(torch.from_numpy(np.stack([one, other])).float() * 2 - 1 - shift) / scale]
    for layer in net:
        layers.append(layer(layers[-1]))
    total, rectified = 0.0, [maps for layer, maps in zip(net, layers[1:], strict=True) if isinstance(layer, nn.ReLU)]
    for weights, maps in zip(linear.values(), rectified, strict=True):
        unit = maps / maps.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-4)
        difference = (unit[0] - unit[1]).square().mean(dim=(1, 2))
        total += float((weights.flatten() * difference).sum())
    return total


def channel_means(name="means"):
    def measure(pixels):
        return pixels[:, :3].double().mean(dim=(2, 3))

    return FeatureNet(name, 3, measure)


def test_mse_and_ssim_are_those_of_the_formulas(pictures):
    first, second = pictures
    found = compare_pairs(first, second)
    one, other = (values.numpy() / 255 for values in pictures)
    assert found["mse"].numpy() == pytest.approx([((a - b) ** 2).mean() for a, b in zip(one, other, strict=True)])
    by_hand = [ssim_by_hand(a, b) for a, b in zip(one, other, strict=True)]
    assert found["ssim"].numpy() == pytest.approx(by_hand, rel=1e-6)
    assert max(by_hand) > 0.9
    assert min(by_hand) < 0.2
    assert {values.dtype for values in found.values()} == {torch.float64}


def test_equal_inverted_and_shifted_pictures(pictures):
    first = pictures[0]
    equal = compare_pairs(first, first.clone(), ("mse", "ssim", "cosine"), channel_means())
    assert equal["mse"].tolist() == [0] * 4
    assert equal["ssim"].numpy() == pytest.approx(np.ones(4))
    assert equal["cosine"].numpy() == pytest.approx(np.ones(4))
    assert (compare_pairs(first, 255 - first)["ssim"][:2] < 0).all()
    black, white = torch.zeros(1, 3, 12, 12, dtype=torch.uint8), torch.full((1, 3, 12, 12), 255, dtype=torch.uint8)
    assert compare_pairs(black, white)["mse"].tolist() == [1]
    shifts = [compare_pairs(first, first.roll(shift, dims=-1)) for shift in (1, 2, 3)]
    assert (shifts[0]["mse"][1] < shifts[1]["mse"][1]) & (shifts[1]["mse"][1] < shifts[2]["mse"][1])
    assert (shifts[0]["ssim"][1] > shifts[1]["ssim"][1]) & (shifts[1]["ssim"][1] > shifts[2]["ssim"][1])


def test_the_cosine_is_that_of_the_features():
    colours = torch.tensor([[3, 4, 0], [100, 0, 0], [0, 50, 50]], dtype=torch.uint8)
    others = torch.tensor([[6, 8, 0], [0, 200, 0], [0, 50, 0]], dtype=torch.uint8)
    first, second = (values[:, :, None, None].expand(-1, -1, 4, 4) for values in (colours, others))
    found = compare_pairs(first, second, ["cosine"], channel_means())["cosine"]
    assert found.numpy() == pytest.approx([1, 0, np.sqrt(0.5)])


def test_masks_do_not_count(pictures):
    first, second = pictures
    with_masks = [torch.cat([values, values[:, :1] * 0 + mask], dim=1) for values, mask in ((first, 0), (second, 255))]
    for name, values in compare_pairs(*with_masks).items():
        assert torch.equal(values, compare_pairs(first, second)[name])


def test_many_pairs_are_those_of_each_alone(pictures):
    first, second = (values.repeat(9, 1, 1, 1) for values in pictures)
    many = compare_pairs(first, second)
    for place in (0, 5, 35):
        alone = compare_pairs(first[place : place + 1], second[place : place + 1])
        assert all(alone[name].item() == pytest.approx(many[name][place].item()) for name in alone)


class TestLpips:
    def test_it_is_nothing_for_equal_pictures_and_grows_with_noise(self, pictures, with_alexnet):
        first = pictures[0]
        noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
        distances = [
            compare_pairs(first, (first + scale * noise).clamp(0, 255).to(torch.uint8), ["lpips"])["lpips"]
            for scale in (0, 20, 60)
        ]
        assert distances[0].tolist() == [0] * 4
        assert (distances[1] > 0).all()
        assert (distances[2] > distances[1]).all()

    @torch.inference_mode()
    def test_it_is_that_of_the_formula(self, pictures, with_alexnet):
        one, other = (values.numpy() / 255 for values in pictures)
        by_hand = [lpips_by_hand(a, b) for a, b in zip(one[:2], other[:2], strict=True)]
        found = compare_pairs(pictures[0][:2], pictures[1][:2], ["lpips"])["lpips"]
        assert found.numpy() == pytest.approx(by_hand, rel=1e-3)
        assert min(by_hand) > 1e-4

    def test_missing_weights_are_named_with_their_place(self, pictures, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises(FeatureNetError, match=r"fetch https://download\.pytorch\.org/models/alexnet") as error:
            compare_pairs(*pictures, ["mse", "lpips"])
        assert str(tmp_path / "hub/checkpoints" / ALEXNET) in str(error.value)
        assert compare_pairs(*pictures, ["mse"])

    def test_other_weights_of_that_name_are_refused(self, hub, pictures, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(hub[0].parent))
        with pytest.raises(FeatureNetError, match=rf"SHA-256 begins {hub[1]}, not 7be5be79; fetch"):
            compare_pairs(*pictures, ["lpips"])

    def test_the_place_of_the_weights_is_told(self, with_alexnet):
        assert lpips_backbone() == with_alexnet / "checkpoints" / ALEXNET


def test_signs_say_which_way_likeness_goes(pictures, with_alexnet):
    first, second = pictures
    equal, unequal = (compare_pairs(first, other, METRICS, channel_means()) for other in (first, second))
    assert set(SIGNS) == set(METRICS)
    for name, sign in SIGNS.items():
        assert (sign * equal[name] > sign * unequal[name]).all(), name


class TestBadInput:
    def test_unknown_metrics_and_none(self, pictures):
        with pytest.raises(ValueError, match="no metric psnr; choose from mse, ssim, lpips, cosine"):
            compare_pairs(*pictures, ["mse", "psnr"])
        with pytest.raises(ValueError, match="none given"):
            compare_pairs(*pictures, [])

    def test_shapes_and_kinds(self, pictures):
        first, second = pictures
        with pytest.raises(ValueError, match=r"one size, and have \(4, 3, 40, 33\) and \(4, 3, 39, 33\)"):
            compare_pairs(first, second[:, :, :39])
        for one in (first / 255, first[:, :1], first[0], first[:0]):
            with pytest.raises(ValueError, match="pictures must be uint8"):
                compare_pairs(one, one)

    def test_pictures_too_small_for_a_metric(self, pictures, with_alexnet):
        first = pictures[0]
        with pytest.raises(ValueError, match=r"ssim requires pictures of at least 11x11 .* measure 10x33"):
            compare_pairs(first[:, :, :10], first[:, :, :10])
        with pytest.raises(ValueError, match=r"lpips requires pictures of at least 31x31 .* measure 40x30"):
            compare_pairs(first[..., :30], first[..., :30], ["lpips"])
        smallest = first[:, :, :31, :31]
        assert compare_pairs(smallest, smallest, ["lpips"])["lpips"].tolist() == [0] * 4
        assert compare_pairs(first[..., :11, :11], first[..., :11, :11])["ssim"].numpy() == pytest.approx(np.ones(4))

    def test_a_cosine_without_a_net(self, pictures):
        with pytest.raises(ValueError, match="requires a feature net"):
            compare_pairs(*pictures, ["cosine"])
        assert len(compare_pairs(*pictures, ["cosine"], replace(channel_means(), name="other"))["cosine"]) == 4
