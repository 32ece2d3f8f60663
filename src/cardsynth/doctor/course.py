"""What can be wrong with how a run went: a check each of its log, its learning rate and its weights."""

import numpy as np
import torch

from cardsynth.baselines.collapse import ALIKE
from cardsynth.doctor.examination import Examination
from cardsynth.doctor.symptoms import FEWEST, SURE, Finding, other_learning_rate, standard_error

FEWEST_STEPS = 20  # from which a log tells whether the loss falls
FIRST_CARDS = 40  # whose mean loss is where it began
# Rise of the loss's running median over the lowest that it had before. (Sound runs: 1.06 to 1.42.)
ROSE = 2.0
# A spike is so many times as high as the highest of the steps before it, and comes more than once. (Sound runs: 1.2.)
SPIKE, STEPS_BEFORE, SPIKES = 5.0, 50, 3
NOT_FALLEN = 0.8  # share of the first loss (sound runs: 0.02 to 0.11; of a net too small for its cards: 0.6)
LONGEST_WARM_UP, USUAL_WARM_UP = 0.2, 0.05  # shares of the run
# Share of the way from the first weights to those being trained that the average may be behind. An average over the
# last tenth of a run, as is usual (Karras et al. 2024, section 3), is 0.1 behind at the most, and 0.01 to 0.04 where
# the learning rate decays.
EMA_BEHIND = 0.5
EMA_WORSE = 1.2  # the loss of the average as a multiple of that of the weights being trained (sound runs: 1.02)


def check_finite(run: Examination) -> Finding | None:
    """Numbers that are not finite in the log or the weights."""
    seen = []
    # In fp16 gradients overflow now and then; the step is skipped and the scale lowered (Micikevicius et al. 2018).
    scaled = (run.manifest or {}).get("mixed_precision") == "fp16"
    for name in ("loss",) if scaled else ("loss", "gradient_norm"):
        steps = [row["step"] for row in run.log if not np.isfinite(row.get(name, 0.0))]
        seen += [f"the {name.replace('_', ' ')} of {len(steps)} steps, first of step {steps[0]}"] if steps else []
    for kind, weights in (("saved", run.averaged), ("checkpoint's", run.raw)):
        broken = [name for name, value in (weights or {}).items() if not value.isfinite().all()]
        seen += [f"{len(broken)} of the {kind} weight tensors, such as {broken[0]}"] if broken else []
    if not seen:
        return None
    precision = "" if run.config and run.config.mixed_precision == "no" else " and mixed_precision no"
    remedy = f"go back to a checkpoint from before, or train anew with {other_learning_rate(run, 1 / 3)}{precision}"
    return Finding("not finite", "error", f"not finite are {', and '.join(seen)}", remedy)


def check_learning_rate(run: Examination) -> Finding | None:
    """A loss that rises again, or jumps of loss or gradient: the learning rate is too high."""
    loss, gradient = (np.array([row.get(name, np.nan) for row in run.log], float) for name in ("loss", "gradient_norm"))
    if len(loss) < FEWEST_STEPS or not np.isfinite(loss).all():
        return None
    span = min(25, max(5, len(loss) // 40))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(loss, span), axis=1)
    rises = medians / np.minimum.accumulate(medians).clip(1e-12)
    worst, enough = int(rises.argmax()), max(ROSE, _rise_by_chance(loss, span))
    seen = []
    if rises[worst] > enough:
        low = int(medians[: worst + 1].argmin())
        seen.append(
            f"the loss rose from {medians[low]:.3g} (step {run.log[low]['step']}) to {medians[worst]:.3g}"
            f" (step {run.log[worst]['step']})" + ("" if rises[-1] > enough else f", and ends at {medians[-1]:.3g}")
        )
    for name, values in (("loss", loss), ("gradient norm", gradient)):
        jumps = spikes(values)
        if len(jumps) >= SPIKES:
            steps = ", ".join(str(run.log[place]["step"]) for place in jumps[:3])
            seen.append(f"the {name} jumped {len(jumps)} times to {SPIKE:g} times its highest before, as at {steps}")
    if not seen:
        return None
    config = run.settings
    rate = config.learning_rate if config else max(row.get("learning_rate", 0.0) for row in run.log)
    warm_up = max(config.lr_warmup_steps if config else 0, round(USUAL_WARM_UP * run.planned_steps))
    remedy = f"train anew with learning_rate {rate / 10:.1g} instead of {rate:g}, and lr_warmup_steps {warm_up}"
    return Finding("learning rate too high", "error", "; ".join(seen), remedy)


def _rise_by_chance(loss: np.ndarray, span: int) -> float:
    """Ratio of two running medians over `span` steps that noise alone hardly reaches: five standard errors apart.

    The noise is that of the logarithm, from its steps (median absolute difference, in deviations of a normal variable);
    a median has 1.25 times the standard error of a mean. With one card a step the loss jumps with its timestep.
    """
    steps = np.abs(np.diff(np.log(loss.clip(1e-12))))
    noise = np.median(steps) / 0.6745 / 2**0.5
    return float(np.exp(5 * 1.25 * noise * (2 / span) ** 0.5))


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
    config = run.settings
    cards_a_step = config.train_batch_size * config.gradient_accumulation_steps if config else 1
    early = min(len(loss) // 4, max(5, len(loss) // 100, FIRST_CARDS // cards_a_step))
    first, last = loss[:early].mean(), loss[-max(5, len(loss) // 10) :].mean()
    if last <= NOT_FALLEN * first:
        return None
    highest = max(row.get("learning_rate", 0.0) for row in run.log)
    cause = f"the loss began at {first:.3g} and ends at {last:.3g}, with a learning rate of at most {highest:.1e}"
    if config and highest < 0.5 * config.learning_rate:
        remedy = f"the learning rate never came near {config.learning_rate:g}: train longer, with a shorter warm-up"
    elif highest < 1e-4:
        remedy = f"train anew with learning_rate 1e-4 to 1e-3 instead of {highest:g}"
    else:
        remedy = (
            f"train longer than {len(loss)} steps, and where that does not help with learning_rate {highest / 3:.1g}"
        )
    return Finding("loss not falling", "error", cause, remedy)


def check_variety(run: Examination) -> Finding | None:
    """Cards of a DCGAN that are all alike (mode collapse), or a training that had to be rolled back."""
    measured = [row["variety"] for row in run.log if "variety" in row]
    rollbacks = (run.manifest or {}).get("rollbacks", [])
    remedy = f"train longer, or anew with {other_learning_rate(run, 1 / 2)} or another seed"
    if measured and measured[-1] < ALIKE:
        cause = f"cards of one class differ {measured[-1]:.2f} times as much as real ones (sound runs: over {ALIKE})"
        return Finding("mode collapse", "error", cause, remedy)
    if rollbacks:
        said = "; ".join(f"from step {one['from']} to {one['to']}, as {one['reason']}" for one in rollbacks)
        return Finding("rolled back in training", "warning", f"{len(rollbacks)} times: {said}", remedy)
    return None


def check_warm_up(run: Examination) -> Finding | None:
    """A warm-up that takes more than a fifth of the run."""
    steps = run.planned_steps
    if not run.config or not steps or run.config.lr_warmup_steps <= LONGEST_WARM_UP * steps:
        return None
    warm_up = run.config.lr_warmup_steps
    cause = f"the learning rate warms up over {warm_up} of {steps} steps ({warm_up / steps:.0%})"
    remedy = f"train anew with lr_warmup_steps {max(1, round(USUAL_WARM_UP * steps))}, or with more steps"
    return Finding("warm-up longer than a fifth of the run", "warning", cause, remedy)


def check_average(run: Examination) -> Finding | None:
    """Averaged weights, which are sampled, that lag behind those being trained."""
    if not (run.raw and run.averaged and run.initial) or check_finite(run):
        return None
    if not run.raw.keys() == run.averaged.keys() == run.initial.keys():
        return None
    behind, worse = way_behind(run), 1.0
    cause = f"they are {behind:.0%} of the way from the first weights to the trained ones behind these"
    if run.errors and "raw" in run.errors and len(run.errors["raw"]) >= FEWEST:
        difference = run.errors["averaged"] - run.errors["raw"]
        if difference.mean() > SURE * standard_error(difference):
            worse = float(run.errors["averaged"].mean() / run.errors["raw"].mean())
        cause += f", their loss is {run.errors['averaged'].mean():.4f} and that of these {run.errors['raw'].mean():.4f}"
    if behind <= EMA_BEHIND and worse <= EMA_WORSE:
        return None
    decay, steps = run.model.config.ema_decay, max(20, run.steps)
    fitting = 1 - 10 / steps
    if run.steps < run.planned_steps:
        remedy = f"train on to the end (--resume): it stands at {run.steps} of {run.planned_steps} steps"
    elif decay > fitting:
        remedy = f"train anew with ema_decay {fitting:.4g} (the last tenth of {steps} steps) instead of {decay:g}"
    else:
        remedy = f"train longer: --resume with max_train_steps {4 * steps} instead of {steps}"
    return Finding("averaged weights lag behind", "error", f"of the averaged weights: {cause}", remedy)


def way_behind(run: Examination) -> float:
    """Share of the way from the first weights to the trained ones that the average has not gone, along that way.

    Along it, so that the back and forth of the weights being trained, which averaging takes out, does not count.
    """
    names = sorted(run.initial)
    initial, raw, averaged = (
        torch.cat([weights[name].flatten().double() for name in names])
        for weights in (run.initial, run.raw, run.averaged)
    )
    way = raw - initial
    return float(1 - (averaged - initial) @ way / (way @ way)) if way.any() else 0.0
