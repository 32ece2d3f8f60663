"""While a model trains: how far its cards lie from real ones that it is not trained on, at little cost."""

import time

import torch

from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.runs import TrainedModel
from cardsynth.core.sampling import AnyModel, generate
from cardsynth.evaluation.evaluate import MOST, select
from cardsynth.evaluation.features import FeatureNet, cardnet, known_judge
from cardsynth.evaluation.metrics import GROUPS, Figure, kernel_distance

TIME_SHARE = 0.1  # of the training time that it may take
STEPS = 10  # of the fast sampler
LEAST = 2 * GROUPS  # cards that KID takes


def hold_out(config: RunConfig, cards: Cards) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the cards to train on, and of those held out to measure KID by, which the seed draws.

    At most a fifth of the cards, and none where `kid_epochs` is 0 or a fifth is fewer than KID takes: a small set needs
    all its cards. Raises ValueError for fewer `kid_cards` than that.
    """
    if not config.kid_epochs or len(cards) // 5 < LEAST:
        return torch.arange(len(cards)), torch.arange(0)
    if config.kid_cards < LEAST:
        raise ValueError(f"kid_cards is {config.kid_cards}, and KID takes {LEAST}; or set kid_epochs to 0")
    mixed = torch.randperm(len(cards), generator=torch.Generator().manual_seed(config.seed))
    count = min(config.kid_cards, len(cards) // 5)
    return mixed[count:], mixed[:count]


class Validation:
    """Measures KID of a model's cards against held-out ones, as often as a tenth of the training time allows.

    `seconds`: what it took so far, `before` it and the training of its feature net (which is kept, for later runs)
    included. The net learns from the cards that the model is trained on, or 5,000 of them.
    """

    def __init__(self, config: RunConfig, cards: Cards, held_out: torch.Tensor, before: float = 0.0) -> None:
        begun = time.perf_counter()
        shown, _ = hold_out(config, cards)
        training = select(cards, shown[:MOST])
        self._held_out = select(cards, held_out)
        self._net: FeatureNet = cardnet(known_judge(training, config.seed), training)
        self._features = self._net.measure(self._held_out.pixels)
        self._epochs, self._last = config.kid_epochs, 0.0
        self.seconds = before + time.perf_counter() - begun

    def is_due(self, epoch: int, done: bool, elapsed: float) -> bool:
        """Whether to measure after an epoch, or when all is `done`; `elapsed`: seconds of the whole run."""
        return (done or epoch % self._epochs == 0) and self.seconds + self._last <= TIME_SHARE * elapsed

    def measure(self, model: AnyModel) -> Figure:
        """KID of as many cards as were held out, of their classes, by a fast sampler without guidance."""
        begun = time.perf_counter()
        names = self._held_out.label_names
        labels = [names[label] for label in self._held_out.labels.tolist()] if model.labels else None
        quick = {"sampler": "unipc", "num_inference_steps": STEPS, "guidance_scale": 1.0}
        settings = quick if isinstance(model, TrainedModel) else {}
        batches = generate(model, range(len(self._held_out)), labels, progress=False, **settings)
        made = torch.cat([one.pixels for one in batches])
        labels = self._held_out.labels if model.labels else None
        found = kernel_distance(self._net.measure(made), self._features, labels, labels)
        self._last = time.perf_counter() - begun
        self.seconds += self._last
        return found
