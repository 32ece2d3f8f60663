"""Estimated memory and arithmetic against known and measured values, and refusals."""

import sys

import pytest
import torch
from peak_bytes import peak_bytes

from cardsynth.__main__ import main
from cardsynth.cards.dataset import Cards
from cardsynth.core.model import build_unet
from cardsynth.doctor.estimate import EstimateError, estimate_run, net_size, training_memory
from cardsynth.models import get_preset

SMOKE = get_preset("smoke")
PUBLISHED = get_preset("all_gum_stain_cards")
LARGE = get_preset("higher_res_gum_stain_cards")


def blank(config, channels=3):
    return Cards(torch.zeros(2, channels, *config.size, dtype=torch.uint8), torch.zeros(2, dtype=torch.long))


@pytest.mark.slow
def test_the_published_nets_arithmetic():
    """The published step is known to take 7.45 TFLOP: 16 cards of 160x128, forward and backward."""
    parameters, flops = net_size(PUBLISHED, 3, 0)
    assert parameters == sum(value.numel() for value in build_unet(PUBLISHED, 3).parameters())
    assert 3 * 16 * flops / 1e12 == pytest.approx(7.45, rel=0.005)
    assert net_size(LARGE, 3, 0)[1] == pytest.approx(4 * flops, rel=0.01)


@pytest.mark.slow
def test_memory_grows_with_cards_and_shrinks_with_checkpointing():
    needed = [training_memory(LARGE, 3, 0, size, on_gpu=True) for size in (2, 4, 8)]
    assert needed[2] - needed[1] == pytest.approx(2 * (needed[1] - needed[0]), rel=0.1)
    lighter = training_memory(LARGE.replace(gradient_checkpointing=True), 3, 0, 8, on_gpu=True)
    assert lighter < 0.6 * needed[2]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_counted_activations_agree_with_a_real_step(checkpointing):
    """Peak bytes of a real forward and backward pass in float32, weights excluded."""
    config = SMOKE.replace(height=80, width=64, mixed_precision="no", gradient_checkpointing=checkpointing)
    unet = build_unet(config, 3)
    if checkpointing:
        unet.enable_gradient_checkpointing()
    images, timesteps = torch.zeros(32, 12, 40, 32), torch.zeros(32, dtype=torch.long)
    measured = peak_bytes(lambda: unet(images, timesteps).sample.square().mean().backward())
    standing = 5 * sum(value.nbytes for value in unet.parameters())
    counted = training_memory(config, 3, 0, 32, on_gpu=False) - standing
    assert counted == pytest.approx(measured, rel=0.15)


def test_norms_are_float32_on_a_gpu_alone():
    """CUDA's autocast runs group norms in float32, which takes more memory than 16 bits and less than all float32."""
    half, full = (training_memory(LARGE.replace(mixed_precision=name), 3, 0, 8, on_gpu=True) for name in ("bf16", "no"))
    assert 0.7 * full < half < full


@pytest.mark.slow
def test_what_an_ordinary_card_holds():
    """Batch 8 at 320x256 within 12 GB with checkpointing, and fewer cards at a time without."""
    cards = blank(LARGE)
    assert estimate_run(LARGE.replace(gradient_checkpointing=True), cards, memory_gb=12).micro_batch == 8
    assert estimate_run(LARGE, cards, memory_gb=15).micro_batch == 4
    text = estimate_run(LARGE, cards, memory_gb=24).text()
    assert "a GPU of 24 GB" in text
    assert "not timed" in text


@pytest.mark.slow
def test_what_cannot_fit_is_refused_with_what_does():
    config = LARGE.replace(block_out_channels=(64, 64, 64, 64, 64, 64))
    with pytest.raises(EstimateError, match=r"one card of 320x256 at a time needs .*fits with gradient_checkpointing"):
        estimate_run(config, blank(config), memory_gb=1.4)
    with pytest.raises(EstimateError, match=r"; \d+x\d+ fits with gradient_checkpointing"):
        estimate_run(config, blank(config), memory_gb=1.05)
    with pytest.raises(EstimateError, match="take a narrower net"):
        estimate_run(config, blank(config), memory_gb=0.5)
    with pytest.raises(ValueError, match="memory_gb must be above 0"):
        estimate_run(config, blank(config), memory_gb=0)


def test_the_command_tells_time_and_cost_and_starts_nothing(card_folder, tmp_path, monkeypatch, capsys):
    arguments = ["--data", str(card_folder), "--preset", "smoke", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["cardsynth", "train", *arguments, "--estimate", "--price-per-hour", "2"])
    main()
    said = capsys.readouterr().out
    assert "for 8 steps" in said
    assert "at 2 an hour" in said
    assert not (tmp_path / "run").exists()
