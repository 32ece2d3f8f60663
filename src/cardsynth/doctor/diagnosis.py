"""The run doctor: what is wrong with a training run, with the cause seen and the setting to change."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cardsynth.baselines.config import BaselineConfig
from cardsynth.cards.dataset import Cards
from cardsynth.doctor.course import (
    check_average,
    check_falling,
    check_finite,
    check_learning_rate,
    check_variety,
    check_warm_up,
)
from cardsynth.doctor.examination import Examination, examine
from cardsynth.doctor.symptoms import (
    Finding,
    check_classes,
    check_copies,
    check_flip,
    check_masks,
    check_mirror_images,
    check_noise,
    check_one_colour,
)

# Causes before what comes of them.
CHECKS = (
    check_finite,
    check_learning_rate,
    check_falling,
    check_warm_up,
    check_average,
    check_variety,
    check_one_colour,
    check_noise,
    check_classes,
    check_masks,
    check_copies,
    check_flip,
    check_mirror_images,
)
# Those that ask how diffusion's loss and learning rate should go, which says nothing of a DCGAN or a VAE.
OF_DIFFUSION = (check_learning_rate, check_falling, check_warm_up, check_average)


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a run: `looked_at` names its parts that were there, `notes` what was missing or is odd."""

    run: Path
    looked_at: tuple[str, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return not any(finding.severity == "error" for finding in self.findings)

    def text(self) -> str:
        """What was looked at and what was not, then every finding with its cause and its remedy."""
        lines = [f"{self.run}: {', '.join(self.looked_at) or 'nothing that can be read'}"]
        lines += [f"     note  {note}" for note in self.notes]
        levels = Counter(finding.severity for finding in self.findings)
        counted = [f"{levels[level]} {level}{'s' * (levels[level] > 1)}" for level in sorted(levels)]
        lines.append(f"Findings: {', '.join(counted) or 'none'}")
        for finding in self.findings:
            lines.append(f"{finding.severity:>9}  {finding.name}: {finding.cause}")
            lines.append(f"{'remedy':>9}  {finding.remedy}")
        return "\n".join(lines)


def diagnose(
    run: str | Path, real: str | Path | Cards | None = None, count: int = 20, progress: bool = True
) -> Diagnosis:
    """Look over a run folder, finished or not, with about `count` cards drawn from it by its own sampler and settings.

    real: the cards that it was trained on, by which copies, mirrored cards and ignored classes are found. Nothing is
    written. Raises RunError where there is no run, and CardError for real cards that cannot be read.
    """
    examined = examine(run, real, count, progress)
    findings: list[Finding] = []
    for check in CHECKS:
        if check in OF_DIFFUSION and isinstance(examined.config, BaselineConfig):
            continue
        if found := check(examined):
            explained = check in (check_one_colour, check_noise) and any(one.severity == "error" for one in findings)
            findings.append(
                replace(found, remedy="mend what is named above, of which it comes") if explained else found
            )
    return Diagnosis(examined.run, tuple(_looked_at(examined)), examined.notes, tuple(findings))


def _looked_at(examined: Examination) -> Any:
    if examined.log:
        last = examined.log[-1]
        yield f"{last['step']:,} of {last.get('total_steps', last['step']):,} steps"
    if examined.averaged:
        yield f"{sum(value.numel() for value in examined.averaged.values()):,} weights"
    if examined.raw:
        yield "its last checkpoint"
    if examined.drawn is not None:
        yield f"{examined.drawn.flatten(0, 1).shape[0]} cards drawn"
    if examined.real is not None:
        yield f"{len(examined.real):,} real cards"
