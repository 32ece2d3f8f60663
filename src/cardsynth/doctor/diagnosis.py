"""The run doctor: names what is wrong with a training run, the cause, and the setting to change."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cardsynth.cards.dataset import Cards
from cardsynth.doctor import course, symptoms
from cardsynth.doctor.examination import Examination, Finding, examine

# Checks of the loss and the learning rate, whose limits hold for diffusion and not for a DCGAN or a VAE.
DIFFUSION_CHECKS = (
    course.check_learning_rate,
    course.check_falling,
    course.check_warm_up,
    course.check_average,
)
SAMPLE_CHECKS = (symptoms.check_one_colour, symptoms.check_noise)
# Causes precede their consequences.
CHECKS = (
    course.check_finite,
    *DIFFUSION_CHECKS,
    course.check_variety,
    *SAMPLE_CHECKS,
    symptoms.check_classes,
    symptoms.check_masks,
    symptoms.check_copies,
    symptoms.check_flip,
    symptoms.check_mirror_images,
)


@dataclass(frozen=True)
class Diagnosis:
    """The result of an examination.

    Attributes:
        run: Run folder.
        looked_at: Parts of the run that were examined.
        notes: Missing parts and other remarks.
        findings: Faults, causes before their consequences.
    """

    run: Path
    looked_at: tuple[str, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return not any(finding.severity == "error" for finding in self.findings)

    def text(self) -> str:
        """Returns the examined parts, the notes, and every finding with its cause and remedy."""
        lines = [f"{self.run}: {', '.join(self.looked_at) or 'nothing that can be read'}"]
        lines += [f"     note  {note}" for note in self.notes]
        levels = Counter(finding.severity for finding in self.findings)
        counts = [f"{levels[level]} {level}{'s' * (levels[level] > 1)}" for level in sorted(levels)]
        lines.append(f"Findings: {', '.join(counts) or 'none'}")
        for finding in self.findings:
            lines.append(f"{finding.severity:>9}  {finding.name}: {finding.cause}")
            lines.append(f"{'remedy':>9}  {finding.remedy}")
        return "\n".join(lines)


def diagnose(
    run: str | Path, real: str | Path | Cards | None = None, count: int = 20, progress: bool = True
) -> Diagnosis:
    """Diagnoses a run, finished or not, from its files and from cards drawn with its own sampler and settings.

    Args:
        run: Run folder. Nothing is written to it.
        real: Cards that the run was trained on, or their folder; required to find copies, mirrored cards and some
            ignored classes.
        count: Approximate number of cards to draw.
        progress: Show progress bars.

    Raises:
        RunError: `run` is not a run folder.
        CardError: `real` cannot be read.
    """
    examined = examine(run, real, count, progress)
    findings = list(examined.findings)
    for check in CHECKS:
        finding = None if examined.is_baseline and check in DIFFUSION_CHECKS else check(examined)
        if finding and check in SAMPLE_CHECKS and any(other.severity == "error" for other in findings):
            finding = replace(finding, remedy="a consequence of the errors above: correct those first")
        findings += [finding] if finding else []
    return Diagnosis(examined.run, tuple(_examined_parts(examined)), tuple(examined.notes), tuple(findings))


def _examined_parts(examined: Examination) -> Iterator[str]:
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
