"""Measures KID against held-out cards while a model trains, at little cost."""

import time
from pathlib import Path
from typing import Protocol

import torch

from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.denoise import CardModel, TrainedModel
from cardsynth.core.runs import read_log
from cardsynth.core.sampling import generate
from cardsynth.evaluation.evaluate import MOST, select
from cardsynth.evaluation.features import FeatureNet, cardnet, known_judge
from cardsynth.evaluation.metrics import GROUPS, kernel_distance
from cardsynth.util.intervals import Figure

TIME_SHARE = 0.1  # of the training time that it may take
STEPS = 10  # of the fast sampler


LEAST = 2 * GROUPS  # cards that KID takes


def hold_out(config: RunConfig, cards: Cards) -> tuple[torch.Tensor, torch.Tensor]:
    """Splits cards into those to train on and those held out to measure KID, by the run's seed.

    Holds out at most a fifth of the cards, and none if `kid_epochs` is 0 or a fifth is fewer than KID needs: a small
    data set needs all its cards.

    Returns:
        Indices of both parts, int64.

    Raises:
        ValueError: `kid_cards` is fewer than KID needs.
    """
    if not config.kid_epochs or len(cards) // 5 < LEAST:
        return torch.arange(len(cards)), torch.arange(0)
    if config.kid_cards < LEAST:
        raise ValueError(f"kid_cards is {config.kid_cards}, and KID requires {LEAST}; or set kid_epochs to 0")
    mixed = torch.randperm(len(cards), generator=torch.Generator().manual_seed(config.seed))
    count = min(config.kid_cards, len(cards) // 5)
    return mixed[count:], mixed[:count]


class CardLearner(Protocol):
    """What trains a model that draws cards."""

    def model(self) -> CardModel:
        """The model with the averaged weights as they are now."""


class KidMeasurement:
    """Measures KID of a model's cards against held-out ones, as often as a tenth of the training time allows.

    Its feature net learns from the cards that the model is trained on, 5,000 at most, and is kept for later runs.

    Args:
        config: settings of the run.
        cards: all cards of the run.
        held_out: indices of the held-out ones.
        run: run folder, whose log tells how much time earlier measurements took.

    Attributes:
        seconds: time that all measurements took so far, training of the feature net included.
    """

    def __init__(self, config: RunConfig, cards: Cards, held_out: torch.Tensor, run: Path | None = None) -> None:
        begun = time.perf_counter()
        shown, _ = hold_out(config, cards)
        training = select(cards, shown[:MOST])
        self._held_out = select(cards, held_out)
        self._net: FeatureNet = cardnet(known_judge(training, config.seed), training)
        self._features = self._net.measure(self._held_out.pixels)
        self._epochs, self._last = config.kid_epochs, 0.0
        rows = read_log(run) if run else []
        self._share_before = next((row["kid_time_share"] for row in reversed(rows) if "kid_time_share" in row), 0.0)
        self._set_up = self.seconds = time.perf_counter() - begun  # before the clock of the run starts

    def __call__(self, learner: CardLearner, epoch: int, done: bool, elapsed: float) -> dict[str, float]:
        """Returns KID with its confidence interval if a measurement is due.

        Args:
            learner: gives the model as it is now.
            epoch: number of the epoch that has ended.
            done: whether training has ended.
            elapsed: seconds of the whole run so far.
        """
        self.seconds += self._share_before * elapsed  # of an earlier session
        self._share_before = 0.0
        if not self.is_due(epoch, done, elapsed):
            return {}
        kid = self.measure(learner.model())
        share = self.seconds / (self._set_up + elapsed + self._last)
        return {"kid": kid.value, "kid_low": kid.low, "kid_high": kid.high, "kid_time_share": round(share, 4)}

    def is_due(self, epoch: int, done: bool, elapsed: float) -> bool:
        """Whether a measurement is due and fits into its share of the time; arguments as above."""
        return (done or epoch % self._epochs == 0) and self.seconds + self._last <= TIME_SHARE * elapsed

    def measure(self, model: CardModel) -> Figure:
        """KID of as many cards as were held out, of their classes, by a fast sampler without guidance."""
        begun = time.perf_counter()
        names = self._held_out.label_names
        labels = [names[label] for label in self._held_out.labels.tolist()] if model.labels else None
        quick = {"sampler": "unipc", "num_inference_steps": STEPS, "guidance_scale": 1.0}
        settings = quick if isinstance(model, TrainedModel) else {}
        batches = generate(model, range(len(self._held_out)), labels, progress=False, **settings)
        generated = torch.cat([batch.pixels for batch in batches])
        labels = self._held_out.labels if model.labels else None
        kid = kernel_distance(self._net.measure(generated), self._features, labels, labels)
        self._last = time.perf_counter() - begun
        self.seconds += self._last
        return kid
