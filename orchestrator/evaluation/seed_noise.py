"""The noise of an accuracy between seeds, assumed where a configuration was trained with one seed only."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.statistics.noise import SeedNoise

LOWEST = 0.005
"""Standard deviation on many training rows: five seeds on 2,000 rows (benchmarks/history/2026-11-26.md)."""
BY_ROOT = 0.2
"""Its product with the root of the number of training rows, on few of them."""
HIGHEST = 0.05
ORIGIN = "recorded seeds (benchmarks/tables) and five seeds in benchmarks/history/2026-11-26.md"
"""The measurements."""
FREEDOM = 4
"""Degrees of freedom when pooled with the seeds of a confirmation."""


def assumed_seed_sd(training_rows: int | None) -> float:
    """Return the standard deviation of an accuracy between seeds, in [0.005, 0.05].

    It is 0.2 / sqrt(training rows): the variance between trained models falls with the number of their rows. The
    recorded seeds of ``benchmarks/tables`` have 0.014 with 200 rows, this rule 0.014; five seeds with 2,000 rows 0.005.

    Args:
        training_rows: number of rows of the trial's training; None or 0: unknown, taken as many.
    """
    if not training_rows:
        return LOWEST
    return min(HIGHEST, max(LOWEST, BY_ROOT / math.sqrt(training_rows)))


def assumed_noise(training_rows: int | None, degrees_of_freedom: float = math.inf) -> "SeedNoise":
    """Return the same as a prior; infinite degrees of freedom: known."""
    from orchestrator.statistics.noise import prior_noise

    return prior_noise(assumed_seed_sd(training_rows), ORIGIN, degrees_of_freedom)
