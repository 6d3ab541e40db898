"""The length of a trial without ``training.epochs``, and the first rung, both in optimizer steps.

Nominal samples are the same for all trials, so the steps are counted at the largest possible batch.
"""

import math
from collections.abc import Mapping

from orchestrator.core.space import ParamValue, Space
from orchestrator.core.trials.timetable import samples_of
from orchestrator.spec.sections.possible import possible, possible_epochs

MIN_STEPS = 256
"""Optimizer steps of a trial without ``training.epochs``, if ``MAX_EPOCHS`` allows them. A new head and an adapter with
an update of zero need some hundred steps: on 355 rows of four classes, 22 steps stay near chance, and 178 steps reach
macro-F1 0.90."""
MAX_EPOCHS = 40
"""Most epochs of a trial without ``training.epochs``. Further passes over so few rows repeat what is already fitted."""
RUNG_STEPS = 32
"""Optimizer steps between the warm-up and the first rung: an eighth of ``MIN_STEPS``. On the public curves of 63
fine-tuning runs, training losses at a tenth of the training have a rank correlation of 0.84 with the final accuracy;
after 4 and 18 steps, trials of the shipped tasks were near chance."""
FIRST_RUNG = 0.25
"""Fraction of the longest trial before the first rung. On the recorded table few-shot, the rank correlation of
validation loss with the final accuracy is 0.37 after 8 % of the training and 0.51 after 25 %."""


def largest_batch(space: Space, fixed: Mapping[str, ParamValue]) -> int:
    """Return the most rows of one optimizer step in a possible trial."""
    sizes = ("batch_size", "accumulation")
    return max(math.prod(int(str(trial[name])) for name in sizes) for trial in possible(space, fixed, sizes))


def largest_warmup(space: Space, fixed: Mapping[str, ParamValue]) -> float:
    """Return the largest warm-up of a possible trial, as a fraction of its steps."""
    return max(float(str(trial["warmup_ratio"])) for trial in possible(space, fixed, ("warmup_ratio",)))


def epochs_of_rows(rows: int, batch: int) -> float:
    """Return the epochs of a trial: at least ``MIN_STEPS`` steps of ``batch`` rows, from 1 to ``MAX_EPOCHS`` epochs."""
    return float(min(MAX_EPOCHS, max(1, math.ceil(MIN_STEPS * batch / rows))))


def longest_samples(space: Space, fixed: Mapping[str, ParamValue], rows: int) -> int:
    """Return the samples of the longest possible trial with this number of training rows."""
    if "epochs" in fixed or space.has("epochs"):
        return samples_of(possible_epochs(space, fixed)[-1], rows)
    return samples_of(epochs_of_rows(rows, largest_batch(space, fixed)), rows)


def earliest_rung(samples: int, batch: int, warmup: float) -> int:
    """Return the samples before which trials are not compared: the warm-up and ``RUNG_STEPS`` steps.

    Args:
        samples: samples of the longest trial.
        batch: rows of one optimizer step.
        warmup: fraction of the steps.
    """
    return math.ceil(warmup * samples) + RUNG_STEPS * batch


def first_rung(earliest: int, samples: int) -> int:
    """Return the samples before the first rung by default: ``FIRST_RUNG`` of the longest trial, or ``earliest``."""
    return max(earliest, math.ceil(FIRST_RUNG * samples))
