"""KID during training: distance from the model's cards to real cards that are held out, at low cost."""

import time

import torch

from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.runs import TrainedModel
from cardsynth.core.sampling import AnyModel, generate
from cardsynth.evaluation.evaluate import MOST, select
from cardsynth.evaluation.features import FeatureNet, cardnet, known_judge
from cardsynth.evaluation.metrics import GROUPS, kernel_distance
from cardsynth.util.intervals import Figure

TIME_SHARE = 0.1  # largest share of the training time
STEPS = 10  # of the fast sampler
LEAST = 2 * GROUPS  # cards that KID requires


def hold_out(config: RunConfig, cards: Cards) -> tuple[torch.Tensor, torch.Tensor]:
    """Splits the cards into training cards and cards that are held out to measure KID.

    At most a fifth of the cards is held out; none if `kid_epochs` is 0 or if a fifth is too few for KID.

    Args:
        config: Settings of the run; `seed` decides the split.
        cards: All cards.

    Returns:
        Indices of the training cards and of the held-out cards, int64.

    Raises:
        ValueError: `kid_cards` is below the number that KID requires.
    """
    if not config.kid_epochs or len(cards) // 5 < LEAST:
        return torch.arange(len(cards)), torch.arange(0)
    if config.kid_cards < LEAST:
        raise ValueError(f"kid_cards is {config.kid_cards}, and KID requires {LEAST}; or set kid_epochs to 0")
    order = torch.randperm(len(cards), generator=torch.Generator().manual_seed(config.seed))
    count = min(config.kid_cards, len(cards) // 5)
    return order[count:], order[:count]


class Validation:
    """Measures KID between a model's cards and held-out cards, within a tenth of the training time.

    Attributes:
        seconds: Time used so far, including earlier parts of the run and the training of the (cached) feature net.
    """

    def __init__(self, config: RunConfig, cards: Cards, held_out: torch.Tensor, before: float = 0.0) -> None:
        """Trains or loads the feature net.

        Args:
            config: Settings of the run.
            cards: All cards; the net learns from at most 5,000 training cards.
            held_out: Indices of the held-out cards, int64 (N,).
            before: Seconds used in earlier parts of the run.
        """
        started = time.perf_counter()
        training_indices, _ = hold_out(config, cards)
        training = select(cards, training_indices[:MOST])
        self._held_out = select(cards, held_out)
        self._net: FeatureNet = cardnet(known_judge(training, config.seed), training)
        self._features = self._net.measure(self._held_out.pixels)
        self._epochs, self._last = config.kid_epochs, 0.0
        self.seconds = before + time.perf_counter() - started

    def is_due(self, epoch: int, done: bool, elapsed: float) -> bool:
        """Returns whether to measure now.

        Args:
            epoch: Number of finished epochs.
            done: Whether the training has ended.
            elapsed: Seconds of the whole run.
        """
        return (done or epoch % self._epochs == 0) and self.seconds + self._last <= TIME_SHARE * elapsed

    def measure(self, model: AnyModel) -> Figure:
        """Returns the KID of as many cards as were held out, with the same classes.

        Args:
            model: The model; a diffusion model uses a fast sampler without guidance.
        """
        started = time.perf_counter()
        names = self._held_out.label_names
        labels = [names[label] for label in self._held_out.labels.tolist()] if model.labels else None
        fast = {"sampler": "unipc", "num_inference_steps": STEPS, "guidance_scale": 1.0}
        settings = fast if isinstance(model, TrainedModel) else {}
        batches = generate(model, range(len(self._held_out)), labels, progress=False, **settings)
        pixels = torch.cat([batch.pixels for batch in batches])
        classes = self._held_out.labels if model.labels else None
        kid = kernel_distance(self._net.measure(pixels), self._features, classes, classes)
        self._last = time.perf_counter() - started
        self.seconds += self._last
        return kid
