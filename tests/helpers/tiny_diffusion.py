"""A Stable Diffusion of a few thousand parameters for tests, as a diffusers folder: real parts, a small vocabulary."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
)

SOME_WORDS = """a an the of on in with from and by scan card back trading baseball reverse side printed print ink
    stock layout design damage no stain stains gum spots marks white grey kraft cream buff red green black gold brick
    navy blue purple orange yellow pink crdbck small large tiny faint heavy wide dark crease pen picture photo"""
WORDS = SOME_WORDS.split()
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"image_size": 32, "patch_size": 16}


def tiny_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer for ASCII, in which each of WORDS is one token and all else is spelt."""
    signs = [chr(code) for code in range(33, 127)]
    vocabulary = [*signs, *(f"{sign}</w>" for sign in signs)]
    merges = []
    for word in WORDS:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[:2] = ["".join(pieces[:2])]
            vocabulary.append(pieces[0])
    vocabulary = [*dict.fromkeys(vocabulary), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        {token: number for number, token in enumerate(vocabulary)}, list(dict.fromkeys(merges)), model_max_length=77
    )


def text_config(tokenizer: CLIPTokenizer, hidden: int = 16, **changes) -> CLIPTextConfig:
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "projection_dim": hidden}
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, pad_token_id=ids["eos_token_id"], **ids, **layers, **changes
    )


def tiny_unet(text_width: int, **changes) -> UNet2DConditionModel:
    kinds = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
    kinds |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
    size = {"sample_size": 16, "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8}
    return UNet2DConditionModel(**size, **kinds, cross_attention_dim=text_width, attention_head_dim=8, **changes)


def tiny_vae() -> AutoencoderKL:
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    return AutoencoderKL(**blocks, block_out_channels=[8, 8], norm_num_groups=4, latent_channels=4, sample_size=32)


def make_stable_diffusion(
    folder: Path, prediction_type: str = "epsilon", withholds: bool | None = None, seed: int = 0
) -> Path:
    """A folder of the 1.x and 2.x kind that draws 32x32; `withholds`: its safety checker withholds all, nothing, or
    there is none."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        checker = None
        if withholds is not None:
            clip = CLIPConfig(
                text_config=text_config(tokenizer).to_dict(),
                vision_config=CLIPVisionConfig(**VISION).to_dict(),
                projection_dim=16,
            )
            checker = StableDiffusionSafetyChecker(clip)
            checker.concept_embeds_weights.fill_(-2.0 if withholds else 2.0)
            checker.special_care_embeds_weights.fill_(2.0)
        StableDiffusionPipeline(
            vae=tiny_vae(),
            text_encoder=CLIPTextModel(text_config(tokenizer)),
            tokenizer=tokenizer,
            unet=tiny_unet(16),
            scheduler=DDIMScheduler(
                beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction_type,
                clip_sample=False, set_alpha_to_one=False, steps_offset=1,
            ),
            safety_checker=checker,
            feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32) if checker else None,
            requires_safety_checker=checker is not None,
        ).save_pretrained(folder)  # fmt: skip
    return folder


def make_stable_diffusion_xl(folder: Path) -> Path:
    """A folder of the XL kind, with two text encoders and conditions of size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = tiny_tokenizer()
        unet = tiny_unet(
            40, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 24, use_linear_projection=True,
        )  # fmt: skip
        StableDiffusionXLPipeline(
            vae=tiny_vae(),
            text_encoder=CLIPTextModel(text_config(tokenizer)),
            text_encoder_2=CLIPTextModelWithProjection(text_config(tokenizer, 24)),
            tokenizer=tokenizer,
            tokenizer_2=tiny_tokenizer(),
            unet=unet,
            scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        ).save_pretrained(folder)
    return folder


def make_clip(folder: Path, seed: int = 6) -> Path:
    """A CLIP that scores pictures by texts; with the usual seed most scores are above 0."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        config = CLIPConfig(
            text_config=text_config(tokenizer).to_dict(),
            vision_config=CLIPVisionConfig(**VISION).to_dict(),
            projection_dim=16,
        )
        CLIPModel(config).save_pretrained(folder)
        processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        CLIPProcessor(processor, tokenizer).save_pretrained(folder)
    return folder
