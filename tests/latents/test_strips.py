from dataclasses import asdict

import pytest
import torch

from cardsynth.cards.dataset import denormalize
from cardsynth.core.diffusion import build_noise_scheduler
from cardsynth.core.model import build_unet
from cardsynth.core.runs import load_model
from cardsynth.core.sampling import generate
from cardsynth.latents.latent_model import latents_of
from cardsynth.latents.strips import emerge, noised_strip
from cardsynth.models import get_preset
from cardsynth.plots.cards import show_rows
from cardsynth.plots.unet import draw_unet, read_blocks


@pytest.mark.parametrize("sampler", ["unipc", "ddim"])
def test_a_card_emerges_as_it_is_generated(trained_run, sampler):
    model = load_model(trained_run)
    how = {"sampler": sampler, "num_inference_steps": 8}
    latents, shown = latents_of(model, **how), emerge(model, 16, "SMALL", count=4, **how)
    assert torch.equal(
        shown.card, next(generate(model, [16], "SMALL", progress=False, **asdict(latents.recipe))).pixels[0]
    )
    assert shown.timesteps == tuple(sorted(shown.timesteps, reverse=True))
    assert (len(shown.timesteps), shown.timesteps[0]) == (4, 999)
    start = denormalize(latents.seed_latents([16]), model.config.patch_size)[0]
    assert torch.equal(shown.noisy[0], start)
    assert (shown.predicted[-1, :3].int() - shown.card[:3].int()).abs().max() <= 1
    assert len(emerge(model, 16, count=20, **how).timesteps) == 8
    assert len(show_rows({"noisy": shown.noisy, "net": shown.predicted}, list("abcd")).axes[0].images) == 8


def test_a_card_sinks_into_noise(cards):
    schedule = build_noise_scheduler("squaredcos_cap_v2")
    strip = noised_strip(cards.pixels[0], schedule, [0, 300, 600, 999], patch_size=2)
    away = (strip.int() - cards.pixels[0].int()).abs().float().mean(dim=(1, 2, 3))
    assert away[0] < 12
    assert away.tolist() == sorted(away.tolist())
    assert (strip[3] == 0).float().mean() > 0.1


@pytest.mark.parametrize("name", ["smoke", "demo", "cards"])
def test_the_figure_is_of_the_net(name):
    config = get_preset(name).replace(height=64, width=64)
    if name == "cards":  # its six levels, not its width
        config = config.replace(block_out_channels=(8, 8, 16, 16, 32, 32), norm_num_groups=8, attention_head_dim=8)
    unet = build_unet(config, 4, 5)
    blocks = read_blocks(unet)
    levels = len(config.block_out_channels)
    assert [block.side for block in blocks] == ["down"] * levels + ["middle"] + ["up"] * levels
    assert [block.channels for block in blocks[:levels]] == list(config.block_out_channels)
    sides = [64 // config.patch_size // 2**level for level in range(levels)]
    assert [block.height for block in blocks] == [*sides, sides[-1], *reversed(sides)]
    attention = {block.level for block in blocks if block.attentions and block.side != "middle"}
    assert attention == set(config.attention_levels)
    # As many maps come down as go up.
    assert sum(block.skips for block in blocks) == 1 + sum(block.resnets for block in blocks[:levels]) + levels - 1
    texts = [text.get_text() for text in draw_unet(unet, config.patch_size).axes[0].texts]
    assert f"{config.block_out_channels[-1]} ch, {sides[-1]}x{sides[-1]}" in texts
