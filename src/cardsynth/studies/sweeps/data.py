"""The cards of a sweep: drawn or read for each run, and those that all runs are judged by."""

from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardWriter, find_cards, read_metadata
from cardsynth.cards.splits import split_cards
from cardsynth.evaluation.evaluate import select
from cardsynth.render.draw import draw_cards, render_cards
from cardsynth.studies.sweeps.config import CardSource, Sweep, SweepRun
from cardsynth.studies.sweeps.grounds import lay_on_ground

DATA, HELD_OUT_SHARE = "data", 0.2
SHIFT, RELIT = 2, 0.1  # of augmented copies: pixels, share of the brightness


@dataclass(frozen=True)
class JudgingCards:
    """Cards that all runs of a sweep are judged by, of one size: what the judge learns from, and what is held out."""

    learn_from: Cards
    held_out: Cards

    @property
    def fingerprint(self) -> str:
        """Hash of both."""
        return f"{self.learn_from.fingerprint} {self.held_out.fingerprint}"


def draw_data(sweep: Sweep, out: Path) -> None:
    """Draw what has not been drawn yet: the cards of each data, and those to judge by."""
    for name in sweep.sources:
        _folder(sweep.source_of(name), out / DATA / name)
    for name, source in sweep.judged_by().items():
        _folder(source, out / DATA / f"_{name}")


def _folder(source: CardSource, place: Path) -> Path:
    """The folder of a source's cards: its own, or else `place`, into which they are drawn."""
    if source.folder:
        return Path(source.folder)
    metadata = place / "metadata.jsonl"
    if metadata.is_file() and len(read_metadata(metadata)) >= source.count:
        return place
    if source.ground is None:
        return render_cards(place, source.count, source.size, source.seed, overwrite=True, **source.drawing)
    drawn = draw_cards(source.count, source.card_size(source.size), source.seed, **source.drawing)
    with closing(drawn), CardWriter(place, overwrite=True) as writer:
        for card in drawn:
            laid = lay_on_ground(card, source.size, source.ground)
            name = f"{laid.row['label']}/{laid.row['seed']:06d}.png"
            names = {"file_name": name, "mask_file_name": f"masks/{name}"}
            writer.add({**names, **laid.row}, encode_png(laid.image), encode_png(laid.mask))
    return place


@lru_cache(maxsize=8)
def _held_out_names(folder: Path) -> frozenset[str]:
    """The cards of a folder that nothing is trained on: a fifth, with all that belong together on one side."""
    cards = find_cards(folder)
    return frozenset(cards[index].name for index in split_cards(cards, (1 - HELD_OUT_SHARE, HELD_OUT_SHARE))["val"])


def training_cards(sweep: Sweep, run: SweepRun, out: str | Path, as_judged: bool = False) -> Cards:
    """The cards that a run is trained on, at its size, or as all are judged; raises CardError for what cannot be read.

    As judged: at the size of all, without the ground around them.
    """
    source, config = sweep.source_of(run.data), run.config
    folder = _folder(source, Path(out) / DATA / run.data)
    if as_judged and not source.ground:
        height, width = sweep.judged_size
        config = config.replace(height=height, width=width)
    cards = read_cards(folder, config.reading)
    if as_judged and source.ground:
        cards = _middle(cards, sweep.judged_size)
    if source.folder:
        if _splits(sweep, source):
            cards = _without(cards, _held_out_names(folder), kept=False)
        cards = _first(cards, source)
    return _augmented(cards, source) if source.augmented else cards


def judging_cards(sweep: Sweep, out: Path) -> JudgingCards:
    """The cards that all runs are judged by; raises CardError for what cannot be read."""
    found = {}
    for name, source in sweep.judged_by().items():
        folder = _folder(source, out / DATA / f"_{name}")
        base = sweep.base
        cards = read_cards(folder, sweep.judged_size, base.fit, base.portrait, only_labels=sweep.judging.labels)
        if source.folder and getattr(sweep.judging, name) is None:
            cards = _without(cards, _held_out_names(folder), kept=name == "held_out")
        found[name] = _first(cards, source) if source.folder else cards
    return JudgingCards(**found)


def _splits(sweep: Sweep, source: CardSource) -> bool:
    """Whether the held-out cards are a part of this source's folder."""
    return sweep.judging.held_out is None and source.folder is not None


def _without(cards: Cards, held_out: frozenset[str], kept: bool) -> Cards:
    """The cards that are held out (`kept`), or all others."""
    return select(cards, torch.tensor([i for i, name in enumerate(cards.names) if (name in held_out) == kept]))


def _first(cards: Cards, source: CardSource) -> Cards:
    """The first so many cards of an order that the source's seed draws: a larger count holds those of a smaller one."""
    order = torch.randperm(len(cards), generator=torch.Generator().manual_seed(source.seed))
    return select(cards, order[: source.count].sort().values)


def _augmented(cards: Cards, source: CardSource) -> Cards:
    """Cards, and changed copies of each behind them, with their masks."""
    generator = torch.Generator().manual_seed(source.seed)
    copies = [_changed(cards.pixels, generator) for _ in range(source.augmented)]
    again = torch.arange(len(cards)).repeat(1 + source.augmented)
    return replace(select(cards, again), pixels=torch.cat([cards.pixels, *copies]))


def _changed(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each card moved by up to SHIFT pixels, edges repeated, and relit by up to RELIT: uint8 (N, C, H, W)."""
    height, width = pixels.shape[2:]
    changed = torch.empty_like(pixels)
    for index, card in enumerate(pixels):
        padded = F.pad(card[None].float(), (SHIFT,) * 4, mode="replicate")[0]
        top, left = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
        moved = padded[:, top : top + height, left : left + width]
        moved[:3] *= 1 + RELIT * (2 * torch.rand(1, generator=generator) - 1)
        changed[index] = moved.round().clamp(0, 255).to(torch.uint8)
    return changed


def read_generated(sweep: Sweep, run: SweepRun, folder: Path) -> Cards:
    """A run's generated cards as they are judged: without the ground around them, at the size of all.

    They are of the labels that they were asked for, where the model knows classes.
    """
    source, config = sweep.sources[run.data], run.config
    if not source.ground:
        return read_cards(folder, sweep.judged_size, config.fit, config.portrait)
    return _middle(read_cards(folder, config.size, config.fit, config.portrait), sweep.judged_size)


def _middle(cards: Cards, size: tuple[int, int]) -> Cards:
    """What lies in the middle of each picture, (height, width)."""
    (height, width), outer = size, cards.size
    top, left = (outer[0] - height) // 2, (outer[1] - width) // 2
    return replace(cards, pixels=cards.pixels[:, :, top : top + height, left : left + width].contiguous())


def check_labels(cards: Cards, labels: tuple[str, ...], where: str) -> None:
    """Raise ValueError where a model of these cards will not know the labels that it is judged by."""
    unknown = sorted(set(labels) - set(cards.label_names))
    if unknown and cards.label_names:
        raise ValueError(f"{where}: it is judged by the class {', '.join(unknown)}, which it is not trained on")
