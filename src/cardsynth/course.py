"""What can be wrong with how a run went: a check each of its log and its learning rate."""

import numpy as np

from cardsynth.examination import Examination
from cardsynth.symptoms import Finding

FEWEST_STEPS = 20  # from which a log tells whether the loss falls
# Rise of the loss's running median over the lowest that it had before. (Sound runs: 1.06 to 1.42.)
ROSE = 2.0
# A spike is so many times as high as the highest of the steps before it, and comes more than once. (Sound runs: 1.2.)
SPIKE, STEPS_BEFORE, SPIKES = 5.0, 50, 3
NOT_FALLEN = 0.8  # share of the first loss (sound runs: 0.02 to 0.11; of a net too small for its cards: 0.6)
LONGEST_WARM_UP, USUAL_WARM_UP = 0.2, 0.05  # shares of the run


def check_learning_rate(run: Examination) -> Finding | None:
    """A loss that rises again, or jumps of loss or gradient: the learning rate is too high."""
    loss, gradient = (np.array([row.get(name, np.nan) for row in run.log], float) for name in ("loss", "gradient_norm"))
    if len(loss) < FEWEST_STEPS or not np.isfinite(loss).all():
        return None
    span = min(25, max(5, len(loss) // 40))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(loss, span), axis=1)
    rises = medians / np.minimum.accumulate(medians).clip(1e-12)
    worst = int(rises.argmax())
    seen = []
    if rises[worst] > ROSE:
        low = int(medians[: worst + 1].argmin())
        seen.append(
            f"the loss rose from {medians[low]:.3g} (step {run.log[low]['step']}) to {medians[worst]:.3g}"
            f" (step {run.log[worst]['step']})" + ("" if rises[-1] > ROSE else f", and ends at {medians[-1]:.3g}")
        )
    for name, values in (("loss", loss), ("gradient norm", gradient)):
        jumps = spikes(values)
        if len(jumps) >= SPIKES:
            steps = ", ".join(str(run.log[place]["step"]) for place in jumps[:3])
            seen.append(f"the {name} jumped {len(jumps)} times to {SPIKE:g} times its highest before, as at {steps}")
    if not seen:
        return None
    config = run.config or (run.model.config if run.model else None)
    rate = config.learning_rate if config else max(row.get("learning_rate", 0.0) for row in run.log)
    warm_up = max(config.lr_warmup_steps if config else 0, round(USUAL_WARM_UP * _planned_steps(run)))
    remedy = f"train anew with learning_rate {rate / 10:.1g} instead of {rate:g}, and lr_warmup_steps {warm_up}"
    return Finding("learning rate too high", "error", "; ".join(seen), remedy)


def spikes(values: np.ndarray) -> np.ndarray:
    """Places of values that are at least `SPIKE` times as high as the highest of the `STEPS_BEFORE` before them."""
    if len(values) <= STEPS_BEFORE:
        return np.empty(0, int)
    before = np.lib.stride_tricks.sliding_window_view(values[:-1], STEPS_BEFORE).max(axis=1)
    return np.flatnonzero(values[STEPS_BEFORE:] > SPIKE * before) + STEPS_BEFORE


def check_falling(run: Examination) -> Finding | None:
    """A loss that did not fall."""
    loss = np.array([row["loss"] for row in run.log], float)
    if len(loss) < FEWEST_STEPS or not np.isfinite(loss).all() or check_learning_rate(run):
        return None
    first, last = loss[: max(5, len(loss) // 100)].mean(), loss[-max(5, len(loss) // 10) :].mean()
    if last <= NOT_FALLEN * first:
        return None
    highest = max(row.get("learning_rate", 0.0) for row in run.log)
    cause = f"the loss began at {first:.3g} and ends at {last:.3g}, with a learning rate of at most {highest:.1e}"
    config = run.config or (run.model.config if run.model else None)
    if config and highest < 0.5 * config.learning_rate:
        remedy = f"the learning rate never came near {config.learning_rate:g}: train longer, with a shorter warm-up"
    elif highest < 1e-4:
        remedy = f"train anew with learning_rate 1e-4 to 1e-3 instead of {highest:g}"
    else:
        remedy = (
            f"train longer than {len(loss)} steps, and where that does not help with learning_rate {highest / 3:.1g}"
        )
    return Finding("loss not falling", "error", cause, remedy)


def check_warm_up(run: Examination) -> Finding | None:
    """A warm-up that takes more than a fifth of the run."""
    steps = _planned_steps(run)
    if not run.config or not steps or run.config.lr_warmup_steps <= LONGEST_WARM_UP * steps:
        return None
    warm_up = run.config.lr_warmup_steps
    cause = f"the learning rate warms up over {warm_up} of {steps} steps ({warm_up / steps:.0%})"
    remedy = f"train anew with lr_warmup_steps {max(1, round(USUAL_WARM_UP * steps))}, or with more steps"
    return Finding("warm-up longer than a fifth of the run", "warning", cause, remedy)


def _planned_steps(run: Examination) -> int:
    """Steps that the run was to take; 0 where nothing says so."""
    if run.log:
        return run.log[-1].get("total_steps", run.log[-1]["step"])
    return (run.config.max_train_steps if run.config else None) or (run.manifest or {}).get("steps", 0)
