"""Loss by timestep: how wrong a trained net is at each noise level, on any cards and whatever it predicts."""

from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards, normalize
from cardsynth.cards.number_planes import with_numbers
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import channel_shares, loss_weights, training_target
from cardsynth.util.device import in_threads


@dataclass(frozen=True)
class TimestepErrors:
    """Squared errors of a net, float64 (bins, N): a row a bin of timesteps, a column a card, means over its pixels.

    `epsilon` is the error of the noise, the same unit for every net; `weighted` is what training minimised. Bin b holds
    timesteps from `edges[b]` up to but without `edges[b + 1]`, and each card has one at random in each bin.
    """

    edges: tuple[int, ...]
    epsilon: np.ndarray
    weighted: np.ndarray


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the last axis, the cards, and its standard error; the error of a single card is NaN."""
    count = values.shape[-1]
    spread = values.std(axis=-1, ddof=1) if count > 1 else np.full(values.shape[:-1], np.nan)
    return values.mean(axis=-1), spread / count**0.5


def loss_by_timestep(
    model: TrainedModel,
    cards: Cards,
    bins: int = 10,
    count: int | None = 256,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = True,
) -> TimestepErrors:
    """Errors of a model's predictions for `count` of the cards (all where there are fewer or it is None), by timestep.

    Cards, timesteps and noise follow from `seed`: two nets meet the same noise on the same cards, so that their errors
    can be compared card by card. Labels and numbers are given where the cards know them. In float32. Raises ValueError
    for cards of another size or classes than the model's, or without the mask that it draws, and for a wrong number of
    bins.
    """
    schedule = model.noise_scheduler
    if not 1 <= bins <= schedule.config.num_train_timesteps:
        raise ValueError(f"bins must lie in 1 to {schedule.config.num_train_timesteps}, and is {bins}")
    labels = _labels_for(model, cards)
    order = np.random.default_rng(seed).permutation(len(cards))[:count]
    chosen = torch.from_numpy(np.sort(order))
    edges = tuple(np.linspace(0, schedule.config.num_train_timesteps, bins + 1).round().astype(int).tolist())
    found = np.empty((2, bins, len(chosen)))
    with tqdm(total=bins * len(chosen), desc="Loss by timestep", unit="card", disable=not progress) as bar:
        for index in range(bins):
            for start in range(0, len(chosen), batch_size):
                part = slice(start, start + batch_size)
                places = range(start, min(start + batch_size, len(chosen)))
                rolls = [np.random.SeedSequence([seed, index, place]).generate_state(1)[0] for place in places]
                pixels = cards.pixels[chosen[part]]
                shares = cards.numbers(model.config.conditions, chosen[part], pixels)
                batch = pixels, None if labels is None else labels[chosen[part]], shares
                found[:, index, part] = _errors(model, *batch, edges[index : index + 2], [int(roll) for roll in rolls])
                bar.update(len(places))
    return TimestepErrors(edges, *found)


@torch.inference_mode()
def _errors(
    model: TrainedModel,
    pixels: torch.Tensor,
    labels: torch.Tensor | None,
    shares: torch.Tensor,
    span: tuple[int, ...],
    seeds: list[int],
) -> np.ndarray:
    """Error of the noise and weighted error of cards uint8 (B, C, H, W), (2, B), at random timesteps within `span`."""
    config, device, schedule = model.config, model.unet.device, model.noise_scheduler
    clean_images = normalize(pixels, config.patch_size).to(device)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    timesteps = torch.cat([torch.randint(*span, (1,), generator=generator) for generator in generators]).to(device)
    noise = torch.stack([torch.randn(clean_images.shape[1:], generator=g) for g in generators]).to(device)
    noisy_images = schedule.add_noise(clean_images, noise, timesteps)
    target = training_target(schedule, clean_images, noise, timesteps)
    noisy_images = with_numbers(noisy_images, shares.to(device))

    @torch.inference_mode()
    def squared(part: slice) -> torch.Tensor:
        class_labels = None if labels is None else labels[part].to(device)
        model_output = model.unet(noisy_images[part], timesteps[part], class_labels=class_labels).sample
        return (model_output.float() - target[part]).square().mean(dim=(2, 3))

    errors = torch.cat(in_threads(squared, len(pixels), device)).double()
    shares = channel_shares(pixels.shape[1], config.mask_weight, config.patch_size).to(errors)
    weights = loss_weights(schedule, timesteps, config.loss_weighting, config.snr_gamma, config.snr_floor)
    epsilon = errors.mean(dim=1) * epsilon_factor(schedule, timesteps)
    return torch.stack([epsilon, errors @ shares * weights]).cpu().numpy()


def epsilon_factor(noise_scheduler, timesteps: torch.Tensor) -> torch.Tensor:
    """What turns the squared error of a net's prediction into that of the noise, (B,).

    With x_t = sqrt(a) x + sqrt(1 - a) e (Ho et al. 2020, equation 4), an error of the image x is one of the noise e
    times a / (1 - a), the signal-to-noise ratio; for the velocity v = sqrt(a) e - sqrt(1 - a) x, e is
    sqrt(1 - a) x_t + sqrt(a) v, and the factor a (Salimans & Ho 2022, appendix D).
    """
    alpha_prod = noise_scheduler.alphas_cumprod.to(timesteps.device)[timesteps].double()
    prediction_type = noise_scheduler.config.prediction_type
    if prediction_type == "epsilon":
        return torch.ones_like(alpha_prod)
    return alpha_prod if prediction_type == "v_prediction" else alpha_prod / (1 - alpha_prod)


def _labels_for(model: TrainedModel, cards: Cards) -> torch.Tensor | None:
    """The cards' labels (N,) as the model counts them, its "no label" for cards without; None for a net without."""
    if cards.size != model.config.size:
        raise ValueError(f"the cards measure {cards.size} and {model.name} draws {model.config.size} (height, width)")
    channels = model.unet.config.out_channels // model.config.patch_size**2
    if cards.pixels.shape[1] != channels:
        kinds = {3: "no masks", 4: "masks"}
        raise ValueError(
            f"{cards.source} has {kinds[cards.pixels.shape[1]]} and {model.name} draws {kinds.get(channels, channels)};"
            " give the cards that it was trained on"
        )
    if not model.labels:
        return None
    if not cards.label_names:
        return torch.full((len(cards),), len(model.labels))
    unknown = [name for name in cards.label_names if name not in model.labels]
    if unknown:
        raise ValueError(
            f"{cards.source} has the classes {', '.join(unknown)}, which {model.name} does not know"
            f" ({', '.join(model.labels)}); give cards of its classes"
        )
    return torch.tensor([model.labels.index(name) for name in cards.label_names])[cards.labels.cpu()]
