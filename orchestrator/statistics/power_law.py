"""Forecasts for more training rows, from a power law over the rows trained on: gains, and the rows for a gain.

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


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsForGain:
    """The number of training rows for a gain, with a 95 % interval; None: no number of rows gives it.

    Attributes:
        value: by the fit to the measured errors.
        low, high: limits.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """Power laws of the measured errors and of their noise.

    Attributes:
        law: the fit to the measured errors.
        rows: present number of training rows.
        scales_fd, exponents_fd: fall of the error from ``rows`` to endless rows, and exponent, of two fits (f) to each
            draw (d): with a floor >= 0 and with any floor.
    """

    law: PowerLaw
    rows: float
    scales_fd: Array
    exponents_fd: Array

    def gain(self, factor: float) -> Interval:
        """Return the gain (the fall of the error) by ``factor`` times the present rows, with a 95 % interval.

        A draw's gain is the larger one of its two fits: fitted floors that cannot be negative are too high on average
        if the true one is near 0, and the interval would hold the true gain in only 82 % of cases. The limits are
        quantiles of the draws, widened to hold the value.
        """
        gains_d = (self.scales_fd * (1 - factor**-self.exponents_fd)).max(axis=0)
        low, high = np.quantile(gains_d, (0.025, 0.975))
        value = self.law.error(self.rows) - self.law.error(factor * self.rows)
        return Interval(value=value, low=min(value, float(low)), high=max(value, float(high)))

    def rows_for_gain(self, gain: float) -> RowsForGain:
        """Return the number of training rows for a gain: the power law solved for the rows.

        error(m) - error(n) = gain for n = m (1 - gain / (scale m^-exponent))^(-1 / exponent), with the present rows m.
        No n exists for a gain of scale m^-exponent or more, the whole fall to endless rows. A draw's number is the
        smaller one of its two fits; see ``gain``.

        Args:
            gain: above 0.
        """
        fall = self.law.error(self.rows) - self.law.floor
        value = float(_factors(np.array([fall]), np.array([self.law.exponent]), gain)[0])
        factors_d = _factors(self.scales_fd, self.exponents_fd, gain).min(axis=0)
        low, high = np.quantile(factors_d, (0.025, 0.975), method="inverted_cdf")  # does not interpolate with infinity
        return RowsForGain(
            value=self._rows(value), low=self._rows(min(value, float(low))), high=self._rows(max(value, float(high)))
        )

    def _rows(self, factor: float) -> float | None:
        return factor * self.rows if math.isfinite(factor) else None


def forecast(rows_t: Array, errors_t: Array, errors_dt: Array, generator: np.random.Generator) -> Forecast:
    """Return power laws of the errors, of which the intervals of gains and rows follow.

    They hold the noise of the measured rows (``errors_dt``) and that of the trainings: each draw adds noise with the
    standard deviation within equal numbers of rows, pooled, and scaled for its degrees of freedom. A power law is
    fitted to each draw.

    Args:
        rows_t: training rows of each training; the largest number is the present one.
        errors_t: its error.
        errors_dt: the errors on resampled measured rows, the same rows for all trainings of a draw.
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
    scale_d = np.sqrt(freedom / generator.chisquare(freedom, len(errors_dt)))
    noisy_dt = errors_dt + sd * scale_d[:, None] * generator.standard_normal(errors_dt.shape)
    fits = [_fits(rows_t / rows_t.max(), noisy_dt, least_floor=least) for least in (0.0, -math.inf)]
    return Forecast(
        law=law,
        rows=float(rows_t.max()),
        scales_fd=np.stack([scales_d for scales_d, _ in fits]),
        exponents_fd=np.stack([exponents_d for _, exponents_d in fits]),
    )


def _factors(falls: Array, exponents: Array, gain: float) -> Array:
    """Return the multiples of the present rows for a gain; infinity where no number gives it."""
    shares = np.divide(gain, falls, out=np.ones_like(falls), where=falls > gain)
    with np.errstate(divide="ignore", over="ignore"):
        return (1 - shares) ** (-1 / exponents)


def _fits(relative_t: Array, errors_dt: Array, *, least_floor: float) -> tuple[Array, Array]:
    """Return scale (d) and exponent (d) of each draw, by the best exponent of a grid."""
    best_d = np.full(len(errors_dt), np.inf)
    scales_d, exponents_d = np.zeros(len(errors_dt)), np.ones(len(errors_dt))
    for exponent in np.geomspace(*EXPONENTS, _GRID):
        _, scale_d, squares_d = _linear(relative_t**-exponent, errors_dt, least_floor)
        better_d = squares_d < best_d
        best_d = np.minimum(best_d, squares_d)
        scales_d[better_d], exponents_d[better_d] = scale_d[better_d], exponent
    return scales_d, exponents_d


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
