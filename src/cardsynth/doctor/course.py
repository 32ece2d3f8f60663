"""Checks of the course of a run: its log, its learning rate and its weights."""

import numpy as np
import torch

from cardsynth.baselines.collapse import ALIKE
from cardsynth.doctor.examination import Examination, Finding
from cardsynth.doctor.symptoms import FEWEST, SURE, finish_training, other_learning_rate
from cardsynth.util.intervals import standard_error

FEWEST_STEPS = 20  # that a judgement of the loss requires
FIRST_CARDS = 40  # whose mean loss is the initial loss
RISE = 2.0  # of the loss's running median, relative to its lowest value so far (sound runs: 1.06 to 1.42)
# A spike exceeds the maximum of the preceding steps by this factor; a run may have fewer than `SPIKES` of them.
# (Sound runs: 1.2.)
SPIKE, STEPS_BEFORE, SPIKES = 5.0, 50, 3
NOT_FALLEN = 0.8  # final loss as a share of the initial loss (sound runs: 0.02 to 0.11; a net too small: 0.6)
LONGEST_WARM_UP, USUAL_WARM_UP = 0.2, 0.05  # shares of the run
# Largest lag of the average, as a share of the distance from the initial to the trained weights. A usual average over
# the last tenth of a run (Karras et al. 2024, section 3) lags by 0.1 at most, and by 0.01 to 0.04 if the learning rate
# decays.
EMA_LAG = 0.5
EMA_WORSE = 1.2  # loss of the averaged weights relative to that of the trained weights (sound runs: 1.02)


def check_finite(run: Examination) -> Finding | None:
    """Finds infinite and undefined numbers in the log and the weights."""
    causes = []
    # In fp16, gradients overflow occasionally; the step is skipped and the scale lowered (Micikevicius et al. 2018).
    scaled = (run.manifest or {}).get("mixed_precision") == "fp16"
    for name in ("loss",) if scaled else ("loss", "gradient_norm"):
        steps = [row["step"] for row in run.log if not np.isfinite(row.get(name, 0.0))]
        causes += [f"the {name.replace('_', ' ')} of {len(steps)} steps, first of step {steps[0]}"] if steps else []
    for kind, weights in (("saved", run.averaged), ("checkpoint's", run.raw)):
        broken = [name for name, value in (weights or {}).items() if not value.isfinite().all()]
        causes += [f"{len(broken)} of the {kind} weight tensors, such as {broken[0]}"] if broken else []
    if not causes:
        return None
    precision = "" if run.config and run.config.mixed_precision == "no" else " and mixed_precision no"
    remedy = f"return to an earlier checkpoint, or train anew with {other_learning_rate(run, 1 / 3)}{precision}"
    return Finding("not finite", "error", f"not finite are {', and '.join(causes)}", remedy)


def check_learning_rate(run: Examination) -> Finding | None:
    """Finds a learning rate that is too high: the loss rises again, or the loss or the gradient norm jumps."""
    loss, gradient = (np.array([row.get(name, np.nan) for row in run.log], float) for name in ("loss", "gradient_norm"))
    if len(loss) < FEWEST_STEPS or not np.isfinite(loss).all():
        return None
    span = min(25, max(5, len(loss) // 40))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(loss, span), axis=1)
    rises = medians / np.minimum.accumulate(medians).clip(1e-12)
    worst, limit = int(rises.argmax()), max(RISE, _rise_by_chance(loss, span))
    causes = []
    if rises[worst] > limit:
        low = int(medians[: worst + 1].argmin())
        causes.append(
            f"the loss rose from {medians[low]:.3g} (step {run.log[low]['step']}) to {medians[worst]:.3g}"
            f" (step {run.log[worst]['step']})" + ("" if rises[-1] > limit else f", and ends at {medians[-1]:.3g}")
        )
    for name, values in (("loss", loss), ("gradient norm", gradient)):
        jumps = spikes(values)
        if len(jumps) >= SPIKES:
            steps = ", ".join(str(run.log[index]["step"]) for index in jumps[:3])
            causes.append(
                f"the {name} jumped {len(jumps)} times to {SPIKE:g} times its previous maximum, as at {steps}"
            )
    if not causes:
        return None
    config = run.settings
    rate = config.learning_rate if config else max(row.get("learning_rate", 0.0) for row in run.log)
    warm_up = max(config.lr_warmup_steps if config else 0, round(USUAL_WARM_UP * run.planned_steps))
    remedy = f"train anew with learning_rate {rate / 10:.1g} instead of {rate:g}, and lr_warmup_steps {warm_up}"
    return Finding("learning rate too high", "error", "; ".join(causes), remedy)


def _rise_by_chance(loss: np.ndarray, span: int) -> float:
    """Returns the ratio of two running medians over `span` steps at five standard errors, which noise rarely exceeds.

    The noise of the loss's logarithm follows from the median absolute difference of successive steps, and a median has
    1.25 times the standard error of a mean. A step of few cards is noisy, because the loss depends on the timestep.
    """
    differences = np.abs(np.diff(np.log(loss.clip(1e-12))))
    noise = np.median(differences) / 0.6745 / 2**0.5
    return float(np.exp(5 * 1.25 * noise * (2 / span) ** 0.5))


def spikes(values: np.ndarray) -> np.ndarray:
    """Returns the indices of values that exceed `SPIKE` times the maximum of the `STEPS_BEFORE` values before them."""
    if len(values) <= STEPS_BEFORE:
        return np.empty(0, int)
    before = np.lib.stride_tricks.sliding_window_view(values[:-1], STEPS_BEFORE).max(axis=1)
    return np.flatnonzero(values[STEPS_BEFORE:] > SPIKE * before) + STEPS_BEFORE


def check_falling(run: Examination) -> Finding | None:
    """Finds a loss that did not fall."""
    loss = np.array([row["loss"] for row in run.log], float)
    if len(loss) < FEWEST_STEPS or not np.isfinite(loss).all() or check_learning_rate(run):
        return None
    config = run.settings
    cards_per_step = config.train_batch_size * config.gradient_accumulation_steps if config else 1
    early = min(len(loss) // 4, max(5, len(loss) // 100, FIRST_CARDS // cards_per_step))
    first, last = loss[:early].mean(), loss[-max(5, len(loss) // 10) :].mean()
    if last <= NOT_FALLEN * first:
        return None
    highest = max(row.get("learning_rate", 0.0) for row in run.log)
    cause = f"the loss began at {first:.3g} and ends at {last:.3g}, with a learning rate of at most {highest:.1e}"
    if config and highest < 0.5 * config.learning_rate:
        remedy = f"the learning rate stayed far below {config.learning_rate:g}: train longer, with a shorter warm-up"
    elif highest < 1e-4:
        remedy = f"train anew with learning_rate 1e-4 to 1e-3 instead of {highest:g}"
    else:
        remedy = f"train longer than {len(loss)} steps; if that does not help, with learning_rate {highest / 3:.1g}"
    return Finding("loss not falling", "error", cause, remedy)


def check_variety(run: Examination) -> Finding | None:
    """Finds a DCGAN whose cards are all alike (mode collapse) or whose training was rolled back."""
    measured = [row["variety"] for row in run.log if "variety" in row]
    rollbacks = (run.manifest or {}).get("rollbacks", [])
    remedy = f"train longer, or anew with {other_learning_rate(run, 1 / 2)} or another seed"
    if measured and measured[-1] < ALIKE:
        cause = f"cards of one class differ {measured[-1]:.2f} times as much as real ones (sound runs: over {ALIKE})"
        return Finding("mode collapse", "error", cause, remedy)
    if rollbacks:
        reasons = "; ".join(f"from step {row['from']} to {row['to']}, as {row['reason']}" for row in rollbacks)
        return Finding("rolled back in training", "warning", f"{len(rollbacks)} times: {reasons}", remedy)
    return None


def check_warm_up(run: Examination) -> Finding | None:
    """Finds a warm-up of more than a fifth of the run."""
    steps = run.planned_steps
    if not run.config or not steps or run.config.lr_warmup_steps <= LONGEST_WARM_UP * steps:
        return None
    warm_up = run.config.lr_warmup_steps
    cause = f"the learning rate warms up over {warm_up} of {steps} steps ({warm_up / steps:.0%})"
    remedy = f"train anew with lr_warmup_steps {max(1, round(USUAL_WARM_UP * steps))}, or with more steps"
    return Finding("warm-up longer than a fifth of the run", "warning", cause, remedy)


def check_average(run: Examination) -> Finding | None:
    """Finds averaged weights, which are sampled, that lag behind the trained weights."""
    if not (run.raw and run.averaged and run.initial) or check_finite(run):
        return None
    if not run.raw.keys() == run.averaged.keys() == run.initial.keys():
        return None
    lag, ratio = average_lag(run), 1.0
    cause = f"the averaged weights lag by {lag:.0%} of the way from the initial to the trained weights"
    if run.errors and "raw" in run.errors and len(run.errors["raw"]) >= FEWEST:
        averaged, raw = run.errors["averaged"], run.errors["raw"]
        if (averaged - raw).mean() > SURE * standard_error(averaged - raw):
            ratio = float(averaged.mean() / raw.mean())
        cause += f"; their loss is {averaged.mean():.4f}, that of the trained weights {raw.mean():.4f}"
    if lag <= EMA_LAG and ratio <= EMA_WORSE:
        return None
    decay, steps = run.model.config.ema_decay, max(20, run.steps)
    suitable = 1 - 10 / steps
    remedy = finish_training(run) or f"train longer: --resume with max_train_steps {4 * steps} instead of {steps}"
    if decay > suitable and run.steps >= run.planned_steps:
        remedy = f"train anew with ema_decay {suitable:.4g} (the last tenth of {steps} steps) instead of {decay:g}"
    return Finding("averaged weights lag behind", "error", cause, remedy)


def average_lag(run: Examination) -> float:
    """Returns the lag of the averaged weights, as a share of the distance from the initial to the trained weights.

    The lag is measured along that direction, so that fluctuations of the trained weights, which averaging removes, do
    not count.
    """
    names = sorted(run.initial)
    initial, raw, averaged = (
        torch.cat([weights[name].flatten().double() for name in names])
        for weights in (run.initial, run.raw, run.averaged)
    )
    distance = raw - initial
    return float(1 - (averaged - initial) @ distance / (distance @ distance)) if distance.any() else 0.0
