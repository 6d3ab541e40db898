"""Intervals of shares and means over independent rows."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A value with a confidence interval.

    Attributes:
        value: the estimate.
        low, high: limits of the interval; ``low <= value <= high``.
        level: confidence level in (0, 1).
    """

    value: float
    low: float
    high: float
    level: float = 0.95


def wilson_interval(successes: int, rows: int, level: float = 0.95) -> Interval:
    """Return Wilson's interval of a share, inside [0, 1].

    With p = successes / rows, z the normal quantile of the level and n rows, the limits are
    (p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n). Sources: Wilson 1927, Journal of the American
    Statistical Association 22; recommended by Brown, Cai and DasGupta 2001, Statistical Science 16.

    Raises:
        ValueError: ``rows`` is below 1, or ``successes`` is not between 0 and ``rows``.
    """
    if rows < 1 or not 0 <= successes <= rows:
        raise ValueError(f"a share needs 0 <= successes <= rows and rows >= 1, got {successes} of {rows}")
    z = float(ndtri((1 + level) / 2))
    share, scale = successes / rows, 1 + z**2 / rows
    centre = (share + z**2 / (2 * rows)) / scale
    half = z * math.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / scale
    low = 0.0 if successes == 0 else min(centre - half, share)
    high = 1.0 if successes == rows else max(centre + half, share)
    return Interval(value=share, low=low, high=high, level=level)


def mean_interval(values_n: Array, units_n: Array | None = None, level: float = 0.95) -> Interval:
    """Return Student's interval of a mean over rows, or of a ratio of two sums.

    Without units: mean ± t sqrt(variance / n), with n - 1 degrees of freedom. With units, for example predicted tokens,
    the value is r = sum(values) / sum(units), and its variance n / (n - 1) sum((value - r unit)²) / sum(units)².
    Source: Cochran 1977, "Sampling Techniques", sections 2.7 and 6.3.

    Args:
        values_n: sum of each row, for example its summed loss.
        units_n: positive weight of each row; None: 1.
        level: confidence level in (0, 1).

    Raises:
        ValueError: there are fewer than 2 rows.
    """
    rows = len(values_n)
    if rows < 2:
        raise ValueError(f"the interval of a mean needs at least 2 rows, got {rows}")
    units_n = np.ones(rows) if units_n is None else units_n
    total = float(units_n.sum())
    value = float(values_n.sum()) / total
    error = math.sqrt(rows / (rows - 1) * float(np.sum((values_n - value * units_n) ** 2))) / total
    half = float(stdtrit(rows - 1, (1 + level) / 2)) * error
    return Interval(value=value, low=value - half, high=value + half, level=level)


def folds_interval(values_s: Array, folds: int, level: float = 0.95) -> Interval:
    """Return the interval of the mean over trainings on folds, each value measured on the rows of its own fold.

    mean ± t sd sqrt(1 / s + 1 / (folds - 1)), with s - 1 degrees of freedom. The second term is the ratio of validation
    to training rows: the training rows of two folds overlap, so their values are not independent, and 1 / s alone is
    too narrow. Sources: Nadeau and Bengio 2003, "Inference for the generalization error", Machine Learning 52; for
    repeated folds Bouckaert and Frank 2004, "Evaluating the replicability of significance tests for comparing learning
    algorithms".

    Args:
        values_s: value of each training.
        folds: number of folds of one division, at least 2.
        level: confidence level in (0, 1).

    Raises:
        ValueError: there are fewer than 2 values or folds.
    """
    count = len(values_s)
    if count < 2 or folds < 2:
        raise ValueError(f"an interval over folds needs 2 values and 2 folds, got {count} and {folds}")
    value = float(values_s.mean())
    error = float(values_s.std(ddof=1)) * math.sqrt(1 / count + 1 / (folds - 1))
    half = float(stdtrit(count - 1, (1 + level) / 2)) * error
    return Interval(value=value, low=value - half, high=value + half, level=level)


def difference_interval(first: Interval, second: Interval) -> Interval:
    """Return the interval of ``first - second`` from the intervals of two values on independent rows.

    With values x, y and limits l, u the result is x - y - sqrt((x - lx)² + (uy - y)²) to x - y + sqrt((ux - x)² +
    (y - ly)²). For two shares with Wilson's intervals this is method 10 of Newcombe 1998, "Interval estimation for the
    difference between independent proportions", Statistics in Medicine 17; for other values see Zou and Donner 2008,
    there 27. If both values share an error of the same sign, such as that of one seed, the interval is too wide.

    Raises:
        ValueError: the levels differ.
    """
    if first.level != second.level:
        raise ValueError(f"a difference needs intervals of one level, got {first.level} and {second.level}")
    value = first.value - second.value
    return Interval(
        value=value,
        low=value - math.hypot(first.value - first.low, second.high - second.value),
        high=value + math.hypot(first.high - first.value, second.value - second.low),
        level=first.level,
    )


def rows_for_bound(interval: Interval, rows: int, bound: float, seed_sd: float = 0.0, power: float = 0.8) -> int | None:
    """Return the number of rows at which the whole interval lies on the value's side of a bound; None: no number does.

    The true value is taken to be the measured one. The standard deviation of the rows, from the half of the interval
    on the bound's side, falls with the root of their number; that of the seeds stays. Rows suffice when the root of
    the summed variances is at most abs(value - bound) / (z + z_power), with z the normal quantile of the level. Source:
    the sample size of a z test, for example Chow, Shao and Wang 2008, "Sample Size Calculations in Clinical Research".

    Args:
        interval: the value, measured on ``rows`` rows.
        rows: number of rows; of several samples the first one, and the others grow with it.
        bound: another value.
        seed_sd: standard deviation between seeds in the interval.
        power: probability in (0, 1) with which a new interval lies on that side.
    """
    z = float(ndtri((1 + interval.level) / 2))
    half = interval.high - interval.value if interval.value < bound else interval.value - interval.low
    left = ((interval.value - bound) / (z + float(ndtri(power)))) ** 2 - seed_sd**2
    variance = max(0.0, (half / z) ** 2 - seed_sd**2)
    return None if left <= 0 else max(2, math.ceil(rows * variance / left))
