"""Cards of a sweep: those that each run trains on, and those that all runs are judged by."""

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
    """Cards of one size that all runs are judged by.

    Args:
        learn_from: Cards that the judging net learns from.
        held_out: Cards that generated cards are compared with.
    """

    learn_from: Cards
    held_out: Cards

    @property
    def fingerprint(self) -> str:
        """Hash of both."""
        return f"{self.learn_from.fingerprint} {self.held_out.fingerprint}"


def draw_data(sweep: Sweep, out: Path) -> None:
    """Draws the cards of a sweep into its folder, as far as they are missing."""
    for name in sweep.sources:
        _folder(sweep.source_of(name), out / DATA / name)
    for name, source in sweep.judged_by().items():
        _folder(source, out / DATA / f"_{name}")


def _folder(source: CardSource, folder: Path) -> Path:
    """Returns the folder of a source's cards: its own, or `folder`, after drawing missing cards into it."""
    if source.folder:
        return Path(source.folder)
    metadata = folder / "metadata.jsonl"
    if metadata.is_file() and len(read_metadata(metadata)) >= source.count:
        return folder
    if source.ground is None:
        return render_cards(folder, source.count, source.size, source.seed, overwrite=True, **source.drawing)
    drawn = draw_cards(source.count, source.card_size(source.size), source.seed, **source.drawing)
    with closing(drawn), CardWriter(folder, overwrite=True) as writer:
        for card in drawn:
            laid = lay_on_ground(card, source.size, source.ground)
            name = f"{laid.row['label']}/{laid.row['seed']:06d}.png"
            names = {"file_name": name, "mask_file_name": f"masks/{name}"}
            writer.add(names | laid.row, encode_png(laid.image), encode_png(laid.mask))
    return folder


@lru_cache(maxsize=8)
def _held_out_names(folder: Path) -> frozenset[str]:
    """Returns a fifth of a folder's cards, which nothing trains on; cards that belong together stay together."""
    cards = find_cards(folder)
    return frozenset(cards[index].name for index in split_cards(cards, (1 - HELD_OUT_SHARE, HELD_OUT_SHARE))["val"])


def training_cards(sweep: Sweep, run: SweepRun, out: str | Path, as_judged: bool = False) -> Cards:
    """Reads the cards that a run trains on.

    Args:
        sweep: The sweep.
        run: One of its runs.
        out: Folder of the sweep.
        as_judged: Read them at the size at which all cards are judged, without the ground around them, instead of the
            run's size.

    Raises:
        CardError: Cards cannot be read.
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
        if sweep.judging.held_out is None:
            cards = _part(cards, folder, held_out=False)
        cards = _first(cards, source)
    return _augmented(cards, source) if source.augmented else cards


def judging_cards(sweep: Sweep, out: Path) -> JudgingCards:
    """Reads the cards that all runs are judged by; raises CardError if they cannot be read."""
    base, sides = sweep.base, {}
    for name, source in sweep.judged_by().items():
        folder = _folder(source, out / DATA / f"_{name}")
        cards = read_cards(
            folder, sweep.judged_size, fit=base.fit, portrait=base.portrait, only_labels=tuple(sweep.judging.labels)
        )
        if source.folder and getattr(sweep.judging, name) is None:
            cards = _part(cards, folder, held_out=name == "held_out")
        sides[name] = _first(cards, source) if source.folder else cards
    return JudgingCards(**sides)


def _part(cards: Cards, folder: Path, held_out: bool) -> Cards:
    """Returns the cards of a folder that are held out, or all others."""
    names = _held_out_names(folder)
    return select(cards, torch.tensor([i for i, name in enumerate(cards.names) if (name in names) == held_out]))


def _first(cards: Cards, source: CardSource) -> Cards:
    """Returns the first `count` cards in an order drawn from the source's seed; larger counts include smaller ones."""
    order = torch.randperm(len(cards), generator=torch.Generator().manual_seed(source.seed))
    return select(cards, order[: source.count].sort().values)


def _augmented(cards: Cards, source: CardSource) -> Cards:
    """Returns the cards, followed by altered copies of them with their masks."""
    generator = torch.Generator().manual_seed(source.seed)
    copies = [_altered(cards.pixels, generator) for _ in range(source.augmented)]
    again = torch.arange(len(cards)).repeat(1 + source.augmented)
    return replace(select(cards, again), pixels=torch.cat([cards.pixels, *copies]))


def _altered(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Returns each card moved by up to SHIFT pixels, edges repeated, and relit by up to RELIT: uint8 (N, C, H, W)."""
    height, width = pixels.shape[2:]
    altered = torch.empty_like(pixels)
    for index, card in enumerate(pixels):
        padded = F.pad(card[None].float(), (SHIFT,) * 4, mode="replicate")[0]
        top, left = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
        moved = padded[:, top : top + height, left : left + width]
        moved[:3] *= 1 + RELIT * (2 * torch.rand(1, generator=generator) - 1)
        altered[index] = moved.round().clamp(0, 255).to(torch.uint8)
    return altered


def read_generated(sweep: Sweep, run: SweepRun, folder: Path) -> Cards:
    """Reads a run's generated cards as they are judged: without the ground around them, at the size of all cards.

    Args:
        sweep: The sweep.
        run: One of its runs.
        folder: Folder of the generated cards.

    Returns:
        The cards; if the model knows classes, each has the class that was requested.
    """
    source, config = sweep.sources[run.data], run.config
    cards = read_cards(
        folder, config.size if source.ground else sweep.judged_size, fit=config.fit, portrait=config.portrait
    )
    return _middle(cards, sweep.judged_size) if source.ground else cards


def _middle(cards: Cards, size: tuple[int, int]) -> Cards:
    """Returns the middle of each picture, (height, width)."""
    top, left = ((outer - inner) // 2 for outer, inner in zip(cards.size, size, strict=True))
    return replace(cards, pixels=cards.pixels[:, :, top : top + size[0], left : left + size[1]].contiguous())


def check_labels(cards: Cards, labels: tuple[str, ...], run: str) -> None:
    """Raises ValueError if a model of these cards will not know the labels that it is judged by.

    Args:
        cards: Cards that it trains on.
        labels: Classes that it is judged by.
        run: Name of the run, for the message.
    """
    unknown = sorted(set(labels) - set(cards.label_names))
    if unknown and cards.label_names:
        raise ValueError(f"{run}: it is judged by the class {', '.join(unknown)}, which it is not trained on")
