"""What an evaluation says in short, and models side by side: from evaluation.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardsynth.evaluation.metrics import Figure, verdict

FIGURES = "evaluation.json"
SMALLER_IS_BETTER = ("FD", "FID", "KID")
SHARES = ("precision", "recall", "coverage")


@dataclass(frozen=True)
class Line:
    """A question, the figure that answers it for generated cards, and the same for real ones.

    share: whether it is one of 0 to 1. net: what it was measured with, where another net would give another figure.
    """

    question: str
    generated: Figure | None
    real: Figure | None
    share: bool
    smaller_is_better: bool
    net: str = ""

    def texts(self) -> tuple[str, str, str, str]:
        """Question, both figures, and whether they differ."""
        difference = verdict(self.generated, self.real, self.smaller_is_better)
        return self.question, figure_text(self.generated, self.share), figure_text(self.real, self.share), difference


def figure_text(figure: Figure | None, share: bool = False) -> str:
    """A figure with its interval, as a percentage where it is a share."""
    if figure is None:
        return "none"
    return figure.percent() if share else figure.text()


def in_short(evaluation: dict[str, Any]) -> list[Line]:
    """The figures that matter most, of the content of an evaluation.json."""
    lines = [
        Line(f"Of its class? ({_short(one['generated']['classifier'])})", *_both(one, "accuracy"), True, False)
        for one in evaluation["classes"]
    ]
    if evaluation["masks"] and evaluation["held_out_masks"]:
        both = {"generated": evaluation["masks"], "held_out": evaluation["held_out_masks"]}
        lines += [
            Line("Mask on its damage? (mean IoU)", *_both(both, "mean_iou"), False, False),
            Line("Its boxes right? (precision)", *_both(both, "box_precision"), True, False),
        ]
    for one in evaluation["distances"]:
        name, both = one["name"], (figure_of(one["generated"]), figure_of(one["floor"]))
        lines.append(Line(_QUESTIONS[name], *both, name in SHARES, name in SMALLER_IS_BETTER, one["net"]))
    for one in evaluation["copies"]:
        unit = _short(one["unit"].replace(",", " ("))
        real = figure_of(one["held_out_share"])
        lines.append(Line(f"Copied? (near-copies by {unit})", figure_of(one["share"]), real, True, True))
    return lines


_QUESTIONS = {
    "FD": "Like real cards? (FD)",
    "FID": "Like real cards? (FID)",
    "KID": "Like real cards? (KID)",
    "precision": "Among real cards? (precision)",
    "recall": "As varied? (recall)",
    "density": "As dense? (density)",
    "coverage": "All kinds there? (coverage)",
}


def _short(text: str) -> str:
    return text.split(" (")[0]


def _both(of: dict[str, Any], name: str) -> tuple[Figure | None, Figure | None]:
    return figure_of(of["generated"][name]), figure_of(of["held_out"][name])


def figure_of(values: dict[str, float] | None) -> Figure | None:
    """A figure as JSON holds it; None where there is none."""
    return Figure(values["value"], values["low"], values["high"]) if values else None


def read_evaluation(run: str | Path) -> dict[str, Any]:
    """The content of a folder's evaluation.json; raises ValueError, with the remedy, where there is none."""
    path = Path(run) / FIGURES
    if not path.is_file():
        raise ValueError(
            f"{run} has no {FIGURES}: generate cards from it, then judge them: cardsynth evaluate --real CARDS"
            f" --generated GENERATED --out {run}"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        in_short(found)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no evaluation of this version ({error!r}): make it anew") from error
    return found


def compare(evaluations: dict[str, dict[str, Any]]) -> str:
    """A table of evaluations by name, and which differences mean something; raises ValueError for fewer than two.

    Two figures differ where their intervals, added in squares, leave no doubt. Distances compare only where net, counts
    and size are the same.
    """
    if len(evaluations) < 2:
        raise ValueError("a comparison takes two evaluations or more")
    found = {name: {line.question: line for line in in_short(one)} for name, one in evaluations.items()}
    questions = list(dict.fromkeys(question for lines in found.values() for question in lines))
    rows = [("", *found, "what it shows")]
    for question in questions:
        lines = {name: of[question] for name, of in found.items() if question in of}
        cells = [figure_text(lines[name].generated, lines[name].share) if name in lines else "none" for name in found]
        rows.append((question, *cells, _shown(lines)))
    against = {name: _against(one) for name, one in evaluations.items()}
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(set(against.values())) > 1:
        text += ["", "Judged by other cards, or at another size, and so not to be compared strictly:"]
        text += [f"  {name}: {of}" for name, of in against.items()]
    return "\n".join(text)


def _against(evaluation: dict[str, Any]) -> str:
    counts = evaluation["counts"]
    size = "x".join(map(str, evaluation["size"]))
    return f"{counts['real']} real cards and {counts['held_out']} held out, {size}, {evaluation['how']}"


def _shown(lines: dict[str, Line]) -> str:
    """Which models a figure tells apart from the best."""
    there = {name: line for name, line in lines.items() if line.generated}
    if len(there) < 2:
        return "too few figures"
    if len({line.net for line in there.values()}) > 1:
        return "not comparable: " + ", ".join(dict.fromkeys(line.net for line in there.values()))
    smaller = next(iter(there.values())).smaller_is_better
    best = sorted(there, key=lambda name: there[name].generated.value, reverse=not smaller)[0]
    worse = [
        name
        for name, line in there.items()
        if verdict(line.generated, there[best].generated, smaller) == "worse" and name != best
    ]
    return f"{best} better than {', '.join(worse)}" if worse else "no difference shown"
