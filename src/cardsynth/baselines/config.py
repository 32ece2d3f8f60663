"""Settings of the baselines that diffusion is compared with: a DCGAN and a VAE, and their presets."""

from typing import Annotated, ClassVar, Literal

from cardsynth.core.base_config import RunConfig
from cardsynth.util.settings import PositiveFloat, PositiveInt, ShareBelowOne, about, settings

DCGAN, VAE = "dcgan", "vae"  # the kinds of baseline, also in the manifests of their runs


@settings
class BaselineConfig(RunConfig):
    """All settings of a run that trains a DCGAN (Radford et al. 2016) or a VAE (Kingma & Welling 2014).

    Raises:
        ValueError: a value has the wrong type or is out of range; the message names the field and what it takes.
    """

    conditions: ClassVar[tuple[str, ...]] = ()  # a baseline learns no numbers to ask for cards by

    kind: Annotated[Literal["dcgan", "vae"], about("Deep convolutional GAN, or variational autoencoder.")] = "dcgan"
    # Nets
    latent_dim: Annotated[PositiveInt, about("Numbers that a card is drawn from.")] = 100
    base_channels: Annotated[PositiveInt, about("Channels of the nets at full size; doubled with each halving.")] = 64
    max_channels: Annotated[PositiveInt, about("Most channels of the nets at any size.")] = 512
    discriminator_norm: Annotated[
        Literal["spectral", "batch"], about("DCGAN: what keeps the discriminator in bounds; published: batch.")
    ] = "spectral"
    # Optimisation
    learning_rate: Annotated[PositiveFloat, about("Learning rate of Adam, for every net.")] = 2e-4
    adam_beta1: Annotated[ShareBelowOne, about("First beta of Adam; for a VAE rather 0.9.")] = 0.5
    kl_weight: Annotated[PositiveFloat, about("VAE: weight of the KL divergence beside the squared error.")] = 0.5

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        if self.max_channels < self.base_channels:
            raise ValueError(
                f"max_channels must be at least base_channels ({self.base_channels}), and is {self.max_channels}"
            )


_DRAWN = BaselineConfig(
    height=80,
    width=64,
    base_channels=32,
    max_channels=256,
    train_batch_size=16,
    max_train_steps=2400,
    ema_decay=0.998,
    save_image_epochs=4,
    save_model_epochs=1,
    eval_batch_size=15,
)
_VAE = {"kind": VAE, "learning_rate": 1e-3, "adam_beta1": 0.9}
_SMOKE = {
    "height": 40,
    "width": 32,
    "latent_dim": 16,
    "base_channels": 8,
    "max_channels": 16,
    "max_train_steps": 16,
    "train_batch_size": 4,
    "save_image_epochs": 1,
    "eval_batch_size": 4,
}
BASELINE_PRESETS: dict[str, BaselineConfig] = {
    # For drawn cards on two CPU cores, beside the preset `demo`.
    "dcgan": _DRAWN,
    "vae": _DRAWN.replace(**_VAE),
    # As a report compared it with diffusion, after Radford et al.
    "dcgan_64": BaselineConfig(height=64, width=64, num_epochs=40, train_batch_size=128, discriminator_norm="batch"),
    # For tests: seconds.
    "smoke_dcgan": _DRAWN.replace(**_SMOKE),
    "smoke_vae": _DRAWN.replace(**_SMOKE, **_VAE),
}
BASELINE_PRESETS = {name: config.replace(preset=name) for name, config in BASELINE_PRESETS.items()}
