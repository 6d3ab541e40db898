"""Bootstrap draws, and intervals from them."""

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from orchestrator.statistics.intervals import Interval

Array: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
RowStatistic: TypeAlias = Callable[[IntArray], Array]
"""Maps counts of shape (d, g) to values of shape (d,) or (d, s). A count is how often a group's row was drawn."""

_CELLS_AT_ONCE = 4_000_000


def row_draws(statistic: RowStatistic, sizes_g: IntArray, generator: np.random.Generator, draws: int) -> Array:
    """Return the statistic of resampled rows, shape (draws,) or (draws, s).

    Rows are drawn with replacement, as many as there are (Efron 1979, "Bootstrap methods"). Equal rows form one group:
    the numbers of draws from the groups follow a multinomial distribution.

    Args:
        statistic: maps the counts of the groups to a value.
        sizes_g: number of rows in each group, at least 1.
        generator: source of the draws.
        draws: number of resamplings.
    """
    rows = int(sizes_g.sum())
    step = max(1, _CELLS_AT_ONCE // len(sizes_g))
    parts = [
        statistic(generator.multinomial(rows, sizes_g / rows, size=min(step, draws - start)))
        for start in range(0, draws, step)
    ]
    return np.concatenate(parts)


def bca_interval(statistic: RowStatistic, sizes_g: IntArray, values_d: Array, level: float = 0.95) -> Interval:
    """Return the interval of bootstrap draws, corrected for bias and acceleration (BCa).

    The limits are the draws' quantiles at Phi(z0 + (z0 + z) / (1 - a (z0 + z))), z the normal quantiles of the level,
    z0 the normal quantile of the share of draws below the value, a a sixth of the skewness of the jackknife values.
    Source: Efron 1987, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82.

    Args:
        statistic: as for ``row_draws``, with values of shape (d,).
        sizes_g: number of rows in each group.
        values_d: values from ``row_draws``. Draws without a number are left out.
        level: confidence level in (0, 1).
    """
    value = float(statistic(sizes_g[None, :])[0])
    known = values_d[np.isfinite(values_d)]
    if not len(known) or np.ptp(known) == 0:
        return Interval(value=value, low=value, high=value, level=level)
    below = (np.count_nonzero(known < value) + 0.5 * np.count_nonzero(known == value)) / len(known)
    bias = float(ndtri(np.clip(below, 1 / (len(known) + 1), 1 - 1 / (len(known) + 1))))
    acceleration = _acceleration(statistic, sizes_g)
    tail = (1 - level) / 2
    places = []
    for z in (float(ndtri(tail)), float(ndtri(1 - tail))):
        shifted = bias + z
        places.append(float(ndtr(bias + shifted / max(1 - acceleration * shifted, 1e-3))))
    low, high = (float(each) for each in np.quantile(known, places))
    return Interval(value=value, low=min(low, value), high=max(high, value), level=level)


def jackknife_values(statistic: Callable[[IntArray], float], members: int) -> Array:
    """Return one value per member of a sample; their mean is the statistic, and Student's interval is the jackknife's.

    The value of member i is t + (n - 1) (mean(t_j) - t_i), with t the statistic and t_i the one without member i. It
    suits statistics of pairs, in which a member without its pairs is left out. Sources: Tukey 1958, Annals of
    Mathematical Statistics 29; for statistics of pairs Arvesen 1969, "Jackknifing U-statistics", there 40.

    Args:
        statistic: maps the places of the kept members to a value.
        members: number of members, at least 2.
    """
    places = np.arange(members)
    without_n = np.array([statistic(np.delete(places, place)) for place in places])
    values: Array = statistic(places) + (members - 1) * (without_n.mean() - without_n)
    return values


def clustered_draws(
    values_ts: Array, statistic: Callable[[Array], Array], generator: np.random.Generator, draws: int
) -> Array:
    """Return the statistic of resampled clusters, each with resampled members, shape (draws,).

    Members of one cluster, such as runs of one table, are not independent. Source: Davison and Hinkley 1997,
    "Bootstrap Methods and their Application", section 3.8.

    Args:
        values_ts: one row per cluster, one column per member.
        statistic: maps values of shape (d, clusters, members) to shape (d,).
        generator: source of the draws.
        draws: number of resamplings.
    """
    clusters, members = values_ts.shape
    chosen = generator.integers(clusters, size=(draws, clusters, 1))
    return statistic(values_ts[chosen, generator.integers(members, size=(draws, clusters, members))])


def percentile_interval(value: float, values_d: Array, level: float = 0.95) -> Interval:
    """Return the interval between two order statistics of the draws.

    Order statistics, not interpolated quantiles: a quantile between infinity and a number would be NaN.
    """
    ordered, tail = np.sort(values_d), (1 - level) / 2
    low, high = ordered[round(tail * (len(ordered) - 1))], ordered[round((1 - tail) * (len(ordered) - 1))]
    return Interval(value=value, low=float(low), high=float(high), level=level)


def _acceleration(statistic: RowStatistic, sizes_g: IntArray) -> float:
    """Return a sixth of the skewness of the jackknife values; 0 if they are equal."""
    values_g = np.concatenate([statistic(counts) for counts in _one_row_less(sizes_g)])
    known = np.isfinite(values_g)
    values_g, sizes = values_g[known], sizes_g[known]
    if not len(values_g):
        return 0.0
    apart = np.average(values_g, weights=sizes) - values_g
    spread = float(np.sum(sizes * apart**2))
    return float(np.sum(sizes * apart**3)) / (6 * math.pow(spread, 1.5)) if spread > 0 else 0.0


def _one_row_less(sizes_g: IntArray) -> Iterator[IntArray]:
    """Yield blocks of counts; in each line one row of one group is missing."""
    groups = len(sizes_g)
    step = max(1, _CELLS_AT_ONCE // groups)
    for start in range(0, groups, step):
        lines = np.arange(start, min(start + step, groups))
        counts = np.repeat(sizes_g[None, :], len(lines), axis=0)
        counts[np.arange(len(lines)), lines] -= 1
        yield counts
