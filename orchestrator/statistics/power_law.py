"""Forecasts of an error for more training rows, from a power law over the rows trained on.

error(n) = floor + scale n^-exponent, with floor >= 0. Sources: Cortes, Jackel, Solla, Vapnik and Denker 1993, "Learning
curves: asymptotic values and rate of convergence"; Hestness et al. 2017, "Deep learning scaling is predictable,
empirically" (arXiv 1712.00409).
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from orchestrator.statistics.intervals import Interval

Array: TypeAlias = NDArray[np.float64]

EXPONENTS = (0.05, 1.5)
"""Smallest and largest exponent of a fit."""
_GRID = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerLaw:
    """error(n) = floor + scale n^-exponent.

    Attributes:
        floor: error for endless rows, >= 0.
        scale: negative if the error rises with the rows.
        exponent: within ``EXPONENTS``.
    """

    floor: float
    scale: float
    exponent: float

    def error(self, rows: float) -> float:
        """Return the error after training on this number of rows."""
        return self.floor + self.scale * math.pow(rows, -self.exponent)


def fit_power_law(rows_t: Array, errors_t: Array) -> PowerLaw:
    """Return the least-squares fit to the errors of trainings.

    Floor and scale follow from the exponent by linear least squares; scipy's bounded search finds the exponent.

    Args:
        rows_t: training rows of each training.
        errors_t: its error.

    Raises:
        ValueError: there are fewer than 3 different numbers of rows.
    """
    if len(np.unique(rows_t)) < 3:
        raise ValueError("a power law needs trainings on 3 different numbers of rows")
    relative_t, errors_1t = rows_t / rows_t.max(), errors_t[None, :]

    def squares(exponent: float) -> float:
        return float(_linear(relative_t**-exponent, errors_1t)[2][0])

    grid = np.geomspace(*EXPONENTS, _GRID)
    best = int(np.argmin([squares(exponent) for exponent in grid]))
    around = (grid[max(0, best - 1)], grid[min(_GRID - 1, best + 1)])
    exponent = float(minimize_scalar(squares, bounds=around, method="bounded").x)
    floor, scale, _ = _linear(relative_t**-exponent, errors_1t)
    return PowerLaw(floor=float(floor[0]), scale=float(scale[0] * rows_t.max() ** exponent), exponent=exponent)


def forecast_gains(
    rows_t: Array, errors_t: Array, errors_dt: Array, factors: tuple[float, ...], generator: np.random.Generator
) -> tuple[Interval, ...]:
    """Return the gain (the fall of the error) by more rows, with a 95 % interval, for each factor.

    The interval holds the noise of the measured rows (``errors_dt``) and that of the trainings: each draw adds noise
    with the standard deviation within equal numbers of rows, pooled, and scaled for its degrees of freedom. A power
    law is fitted to each draw; the limits are quantiles of the draws' gains, widened to hold the value. A draw's gain
    is the larger one of two fits, with a floor >= 0 and with any floor: fitted floors that cannot be negative are too
    high on average if the true one is near 0, and the interval would hold the true gain in only 82 % of cases.

    Args:
        rows_t: training rows of each training; the largest number is the present one.
        errors_t: its error.
        errors_dt: the errors on resampled measured rows, the same rows for all trainings of a draw.
        factors: numbers of rows as multiples of the present one, above 1.
        generator: source of the noise.

    Raises:
        ValueError: there are fewer than 3 different numbers of rows, or fewer than 2 trainings with each.
    """
    counts = [int(np.count_nonzero(rows_t == rows)) for rows in np.unique(rows_t)]
    if min(counts) < 2:
        raise ValueError("the noise between trainings needs 2 trainings with each number of rows")
    law = fit_power_law(rows_t, errors_t)
    groups = [errors_t[rows_t == rows] for rows in np.unique(rows_t)]
    freedom = sum(counts) - len(counts)
    sd = np.sqrt(sum(float(((each - each.mean()) ** 2).sum()) for each in groups) / freedom)
    draws = len(errors_dt)
    scale_d = np.sqrt(freedom / generator.chisquare(freedom, draws))
    noisy_dt = errors_dt + sd * scale_d[:, None] * generator.standard_normal(errors_dt.shape)
    relative_t = rows_t / rows_t.max()
    gains_df = np.maximum(*(_gains(relative_t, noisy_dt, factors, least_floor=least) for least in (0.0, -math.inf)))
    lows, highs = np.quantile(gains_df, (0.025, 0.975), axis=0)
    present = law.error(rows_t.max())
    values = [present - law.error(factor * rows_t.max()) for factor in factors]
    return tuple(
        Interval(value=value, low=min(value, float(low)), high=max(value, float(high)))
        for value, low, high in zip(values, lows, highs, strict=True)
    )


def _gains(relative_t: Array, errors_dt: Array, factors: tuple[float, ...], *, least_floor: float) -> Array:
    """Return the gains (d, f) by the best exponent of a grid for each draw."""
    best_d = np.full(len(errors_dt), np.inf)
    gains_df = np.zeros((len(errors_dt), len(factors)))
    for exponent in np.geomspace(*EXPONENTS, _GRID):
        _, scale_d, squares_d = _linear(relative_t**-exponent, errors_dt, least_floor)
        better_d = squares_d < best_d
        best_d = np.minimum(best_d, squares_d)
        falls_f = 1 - np.array(factors) ** -exponent
        gains_df[better_d] = scale_d[better_d, None] * falls_f
    return gains_df


def _linear(powers_t: Array, errors_dt: Array, least_floor: float = 0.0) -> tuple[Array, Array, Array]:
    """Return floor, scale and sum of squares of each draw's least-squares line over the powers.

    A floor below ``least_floor``, which is 0 or -inf, becomes 0.
    """
    centred_t = powers_t - powers_t.mean()
    scale_d = errors_dt @ centred_t / float(centred_t @ centred_t)
    floor_d = errors_dt.mean(axis=1) - scale_d * powers_t.mean()
    through_zero_d = errors_dt @ powers_t / float(powers_t @ powers_t)
    below_d = floor_d < least_floor
    scale_d, floor_d = np.where(below_d, through_zero_d, scale_d), np.where(below_d, 0.0, floor_d)
    squares_d = ((errors_dt - floor_d[:, None] - scale_d[:, None] * powers_t) ** 2).sum(axis=1)
    return floor_d, scale_d, squares_d
