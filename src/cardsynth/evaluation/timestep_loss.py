"""Loss by timestep: the error of a trained net at each noise level, for any prediction type."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from diffusers import SchedulerMixin
from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards, normalize
from cardsynth.cards.number_planes import with_numbers
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import channel_shares, loss_weights, training_target
from cardsynth.util.device import in_threads


@dataclass(frozen=True)
class TimestepErrors:
    """Squared errors of a net: one row per bin of timesteps, one column per card, averaged over its pixels.

    Attributes:
        edges: Bin b holds the timesteps from `edges[b]` up to but excluding `edges[b + 1]`; each card has one random
            timestep in each bin.
        epsilon: Error of the noise, which is comparable between nets, float64 (bins, N).
        weighted: Error as the training minimised it, float64 (bins, N).
    """

    edges: tuple[int, ...]
    epsilon: np.ndarray
    weighted: np.ndarray


def loss_by_timestep(
    model: TrainedModel,
    cards: Cards,
    bins: int = 10,
    count: int | None = 256,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = True,
) -> TimestepErrors:
    """Computes the errors of a model's predictions by timestep, in float32.

    Cards, timesteps and noise depend on `seed` alone, so the errors of two nets can be compared card by card. The net
    receives labels and conditioning values if the cards have them.

    Args:
        model: The trained model.
        cards: Cards of the model's size and classes.
        bins: Number of bins of timesteps.
        count: Number of cards to use; None or a larger number uses all.
        seed: Seed of the cards, timesteps and noise.
        batch_size: Cards per batch.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: The cards have another size, unknown classes or no mask that the model draws, or `bins` is out of
            range.
    """
    timesteps = model.noise_scheduler.config.num_train_timesteps
    if not 1 <= bins <= timesteps:
        raise ValueError(f"bins must be between 1 and {timesteps}, and is {bins}")
    labels = _labels_for(model, cards)
    chosen = torch.from_numpy(np.sort(np.random.default_rng(seed).permutation(len(cards))[:count]))
    edges = tuple(np.linspace(0, timesteps, bins + 1).round().astype(int).tolist())
    errors = np.empty((2, bins, len(chosen)))
    with tqdm(total=bins * len(chosen), desc="Loss by timestep", unit="card", disable=not progress) as bar:
        for number, span in enumerate(pairwise(edges)):
            for positions in torch.arange(len(chosen)).split(batch_size):
                seeds = [_seed_of(seed, number, position) for position in positions.tolist()]
                indices = chosen[positions]
                pixels = cards.pixels[indices]
                conditions = cards.numbers(model.config.conditions, indices, pixels)
                batch = pixels, None if labels is None else labels[indices], conditions
                errors[:, number, positions.numpy()] = _errors(model, *batch, span, seeds)
                bar.update(len(positions))
    return TimestepErrors(edges, *errors)


def _seed_of(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


@torch.inference_mode()
def _errors(
    model: TrainedModel,
    pixels: torch.Tensor,
    labels: torch.Tensor | None,
    conditions: torch.Tensor,
    span: tuple[int, int],
    seeds: list[int],
) -> np.ndarray:
    """Returns noise error and weighted error of cards uint8 (B, C, H, W), (2, B), at random timesteps in `span`."""
    config, device, noise_scheduler = model.config, model.unet.device, model.noise_scheduler
    clean_images = normalize(pixels, config.patch_size).to(device)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    timesteps = torch.cat([torch.randint(*span, (1,), generator=generator) for generator in generators]).to(device)
    noise = torch.stack([torch.randn(clean_images.shape[1:], generator=generator) for generator in generators])
    noise = noise.to(device)
    noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
    target = training_target(noise_scheduler, clean_images, noise, timesteps)
    noisy_images = with_numbers(noisy_images, conditions.to(device))

    @torch.inference_mode()
    def squared_errors(part: slice) -> torch.Tensor:
        class_labels = None if labels is None else labels[part].to(device)
        model_output = model.unet(noisy_images[part], timesteps[part], class_labels=class_labels).sample
        return (model_output.float() - target[part]).square().mean(dim=(2, 3))

    errors = torch.cat(in_threads(squared_errors, len(pixels), device)).double()
    shares = channel_shares(pixels.shape[1], config.mask_weight, config.patch_size).to(errors)
    weights = loss_weights(noise_scheduler, timesteps, config.loss_weighting, config.snr_gamma, config.snr_floor)
    epsilon = errors.mean(dim=1) * epsilon_factor(noise_scheduler, timesteps)
    return torch.stack([epsilon, errors @ shares * weights]).cpu().numpy()


def epsilon_factor(noise_scheduler: SchedulerMixin, timesteps: torch.Tensor) -> torch.Tensor:
    """Returns the factor that converts the squared error of a prediction into that of the noise.

    With x_t = sqrt(a) x + sqrt(1 - a) e (Ho et al. 2020, equation 4), an error of the image x equals an error of the
    noise e times a / (1 - a), the signal-to-noise ratio. For the velocity v = sqrt(a) e - sqrt(1 - a) x, the noise e is
    sqrt(1 - a) x_t + sqrt(a) v, and the factor is a (Salimans & Ho 2022, appendix D).

    Args:
        noise_scheduler: The model's noise scheduler.
        timesteps: int64 (B,).

    Returns:
        Factors, float64 (B,).
    """
    alpha_prod = noise_scheduler.alphas_cumprod.to(timesteps.device)[timesteps].double()
    prediction_type = noise_scheduler.config.prediction_type
    if prediction_type == "epsilon":
        return torch.ones_like(alpha_prod)
    return alpha_prod if prediction_type == "v_prediction" else alpha_prod / (1 - alpha_prod)


def _labels_for(model: TrainedModel, cards: Cards) -> torch.Tensor | None:
    """Returns labels (N,) that index the model's classes; its "no label" for unlabelled cards; None without classes."""
    if cards.size != model.config.size:
        raise ValueError(f"the cards measure {cards.size} and {model.name} draws {model.config.size} (height, width)")
    channels = model.unet.config.out_channels // model.config.patch_size**2
    if cards.pixels.shape[1] != channels:
        kinds = {3: "no masks", 4: "masks"}
        raise ValueError(
            f"{cards.source} has {kinds[cards.pixels.shape[1]]} and {model.name} draws {kinds.get(channels, channels)};"
            " use the cards that it was trained on"
        )
    if not model.labels:
        return None
    if not cards.label_names:
        return torch.full((len(cards),), len(model.labels))
    unknown = [name for name in cards.label_names if name not in model.labels]
    if unknown:
        raise ValueError(
            f"{cards.source} has the classes {', '.join(unknown)}, which {model.name} does not know"
            f" ({', '.join(model.labels)}); use cards of its classes"
        )
    return torch.tensor([model.labels.index(name) for name in cards.label_names])[cards.labels.cpu()]
