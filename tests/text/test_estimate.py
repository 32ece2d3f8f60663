"""Memory and parameters of fine-tuning, counted beforehand: against known nets, and against a step that is taken."""

import json

import pytest
import torch

from cardsynth.doctor.estimate import PeakMemory
from cardsynth.text.config import TextConfig
from cardsynth.text.estimate import estimate_text
from cardsynth.text.learner import Encoded, TextLearner
from cardsynth.text.model import TextModelError, encode_prompts, open_base, text_encoders
from cardsynth.util.device import build_accelerator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one_five(tmp_path_factory):
    """The configurations of Stable Diffusion 1.5, without weights."""
    folder = tmp_path_factory.mktemp("1.5")
    across = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
    configs = {
        "unet": {"sample_size": 64, "cross_attention_dim": 768, "block_out_channels": [320, 640, 1280, 1280]}
        | {"in_channels": 4, "attention_head_dim": 8, "down_block_types": across[0], "up_block_types": across[1]},
        "vae": {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4, "layers_per_block": 2}
        | {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4},
        "text_encoder": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
        | {"num_attention_heads": 12, "vocab_size": 49408, "max_position_embeddings": 77},
    }
    for name, config in configs.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    return TextConfig(base_model=str(folder))


def test_1_5_trains_in_less_than_12_gb_and_a_hundredth_of_its_parameters(one_five):
    found = estimate_text(one_five)
    assert found.size == (512, 512)
    assert found.parameters == 859_520_964 + 123_060_480
    assert found.trained == 3_188_736
    assert found.trained < 0.01 * found.parameters
    assert 3 < found.memory_gb < 12
    assert "fits" in found.text(12)
    lighter = estimate_text(one_five.replace(gradient_checkpointing=True))
    assert lighter.activations_gb < 0.6 * found.activations_gb
    assert "does NOT fit" in lighter.text(2)


def test_all_of_the_net_takes_four_more_copies_of_itself(stable_diffusion):
    """Gradients, Adam's two moments and the average, in float32."""
    found = estimate_text(TextConfig(base_model=str(stable_diffusion), method="full", train_batch_size=1))
    size = sum(value.numel() for value in open_base(stable_diffusion).unet.parameters())
    assert found.trained == size
    assert found.weights_gb == pytest.approx(4e-9 * size)
    assert found.states_gb == pytest.approx(3 * 4e-9 * size)
    assert found.activations_gb > 4e-9 * size


@pytest.mark.parametrize("text_encoder", [False, True])
def test_what_is_counted_is_what_a_step_takes(stable_diffusion, text_encoder):
    """Against the bytes that a real step of the tiny model holds at its highest point, in float32."""
    config = TextConfig(
        base_model=str(stable_diffusion), train_text_encoder=text_encoder, mixed_precision="no", train_batch_size=8
    )
    pipeline = open_base(stable_diffusion)
    with torch.no_grad():
        told = encode_prompts(pipeline, ["a card"], torch.device("cpu"))
    latents = [torch.zeros(2, 4, 16, 16)] * 8
    pictures = Encoded(
        latents, ("a card",) * 8, ((32, 32),) * 8,
        {} if text_encoder else {"a card": {"prompt_embeds": told["prompt_embeds"][0]}},
    )  # fmt: skip
    learner = TextLearner(config, build_accelerator(config.mixed_precision, config.cpu), pipeline, pictures)
    nets = (pipeline.unet, *text_encoders(pipeline).values())
    with PeakMemory([value for net in nets for value in (*net.parameters(), *net.buffers())]) as memory:
        list(learner._losses(0, backward=True))
    found = estimate_text(config)
    assert found.activations_gb * 1e9 == pytest.approx(memory.peak, rel=0.2)
    assert found.trained == sum(value.numel() for value in learner.parameters)


def test_a_folder_that_is_no_stable_diffusion(tmp_path):
    with pytest.raises(TextModelError, match="no unet, vae, text_encoder in it"):
        estimate_text(TextConfig(base_model=str(tmp_path)))
