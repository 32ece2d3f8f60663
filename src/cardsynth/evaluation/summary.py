"""Summaries of evaluations and comparisons of models, from the contents of evaluation.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardsynth.evaluation.metrics import verdict
from cardsynth.util.intervals import Figure

FIGURES = "evaluation.json"
SMALLER_IS_BETTER = ("FD", "FID", "KID")
SHARES = ("precision", "recall", "coverage")
QUESTIONS = {
    "FD": "Like real cards? (FD)",
    "FID": "Like real cards? (FID)",
    "KID": "Like real cards? (KID)",
    "precision": "Among real cards? (precision)",
    "recall": "As varied? (recall)",
    "density": "As dense? (density)",
    "coverage": "All kinds there? (coverage)",
}


@dataclass(frozen=True)
class Line:
    """A question, with the figures that answer it for generated and for real cards.

    Attributes:
        question: The question.
        generated: Figure of the generated cards.
        real: Figure of real cards.
        share: Whether the figures are shares in 0 to 1.
        smaller_is_better: Whether a smaller figure is better.
        net: The feature net, if another net would give another figure.
    """

    question: str
    generated: Figure | None
    real: Figure | None
    share: bool = False
    smaller_is_better: bool = False
    net: str = ""

    def texts(self) -> tuple[str, str, str, str]:
        """Returns the question, both figures, and whether they differ."""
        difference = verdict(self.generated, self.real, self.smaller_is_better)
        return self.question, figure_text(self.generated, self.share), figure_text(self.real, self.share), difference


def figure_text(figure: Figure | None, share: bool = False) -> str:
    """Returns a figure with its interval, as a percentage if it is a share, or "none"."""
    if figure is None:
        return "none"
    return figure.percent() if share else figure.text()


def figure_of(values: dict[str, float] | None) -> Figure | None:
    """Restores a figure from JSON; None stays None."""
    return Figure(values["value"], values["low"], values["high"]) if values else None


def in_short(evaluation: dict[str, Any]) -> list[Line]:
    """Returns the most important figures of an evaluation.

    Args:
        evaluation: Contents of an evaluation.json.
    """
    lines = []
    for comparison in evaluation["classes"]:
        accuracies = (figure_of(comparison[side]["accuracy"]) for side in ("generated", "held_out"))
        classifier = comparison["generated"]["classifier"].split(" (")[0]
        lines.append(Line(f"Of its class? ({classifier})", *accuracies, share=True))
    masks, real_masks = evaluation["masks"], evaluation["held_out_masks"]
    if masks and real_masks:
        iou, boxes = ((figure_of(masks[name]), figure_of(real_masks[name])) for name in ("mean_iou", "box_precision"))
        lines.append(Line("Mask on its damage? (mean IoU)", *iou))
        lines.append(Line("Its boxes right? (precision)", *boxes, share=True))
    for distance in evaluation["distances"]:
        name, figures = distance["name"], (figure_of(distance["generated"]), figure_of(distance["floor"]))
        lines.append(Line(QUESTIONS[name], *figures, name in SHARES, name in SMALLER_IS_BETTER, distance["net"]))
    for copies in evaluation["copies"]:
        unit = copies["unit"].split(",")[0].split(" (")[0]
        shares = (figure_of(copies[name]) for name in ("share", "held_out_share"))
        lines.append(Line(f"Copied? (near-copies by {unit})", *shares, share=True, smaller_is_better=True))
    return lines


def read_evaluation(run: str | Path) -> dict[str, Any]:
    """Reads the evaluation.json of a folder.

    Raises:
        ValueError: The file is missing or has another format; the message says how to create it.
    """
    path = Path(run) / FIGURES
    if not path.is_file():
        raise ValueError(
            f"{run} has no {FIGURES}: generate cards, then evaluate them: cardsynth evaluate --real CARDS --generated"
            f" GENERATED --out {run}"
        )
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        in_short(evaluation)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no evaluation of this version ({error!r}): evaluate again") from error
    return evaluation


def compare(evaluations: dict[str, dict[str, Any]]) -> str:
    """Returns a table of evaluations, with the differences that exceed their 95% intervals.

    Distances are compared only if net, counts and size are equal.

    Args:
        evaluations: Contents of evaluation.json by name.

    Raises:
        ValueError: There are fewer than two evaluations.
    """
    if len(evaluations) < 2:
        raise ValueError("a comparison requires at least two evaluations")
    by_name = {name: {line.question: line for line in in_short(entry)} for name, entry in evaluations.items()}
    rows = [("", *by_name, "what it shows")]
    for question in dict.fromkeys(question for lines in by_name.values() for question in lines):
        lines = {name: of_name[question] for name, of_name in by_name.items() if question in of_name}
        cells = [figure_text(lines[name].generated, lines[name].share) if name in lines else "none" for name in by_name]
        rows.append((question, *cells, _difference(lines)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    standards = {name: _standard(entry) for name, entry in evaluations.items()}
    if len(set(standards.values())) > 1:
        text += ["", "Evaluated with different cards or at different sizes, so not strictly comparable:"]
        text += [f"  {name}: {standard}" for name, standard in standards.items()]
    return "\n".join(text)


def _standard(evaluation: dict[str, Any]) -> str:
    counts, size = evaluation["counts"], "x".join(map(str, evaluation["size"]))
    return f"{counts['real']} real cards and {counts['held_out']} held out, {size}, {evaluation['how']}"


def _difference(lines: dict[str, Line]) -> str:
    """Returns which models are worse than the best one, by the figures of one question."""
    known = {name: line for name, line in lines.items() if line.generated}
    if len(known) < 2:
        return "too few figures"
    nets = dict.fromkeys(line.net for line in known.values())
    if len(nets) > 1:
        return f"not comparable: {', '.join(nets)}"
    smaller = next(iter(known.values())).smaller_is_better
    best = sorted(known, key=lambda name: known[name].generated.value, reverse=not smaller)[0]
    worse = [name for name in known if verdict(known[name].generated, known[best].generated, smaller) == "worse"]
    return f"{best} better than {', '.join(worse)}" if worse else "no difference shown"
