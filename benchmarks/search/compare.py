"""Paired comparison of policies, clustered by table.

Runs of one table share its trials, so they are one observation: a mean difference over seeds. Intervals and tests of
means are Student's over these observations, with tables − 1 degrees of freedom. A bootstrap of few tables would give
intervals that are too narrow. Two tables therefore show little, and one table shows nothing about others.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from benchmarks.search.results import RunResult, speed_ratios
from orchestrator.statistics.intervals import Interval, mean_interval
from orchestrator.statistics.paired import holm
from orchestrator.statistics.resampling import clustered_draws, percentile_interval

Array = NDArray[np.float64]
MARGIN = 0.002
"""A regret higher by less than this is "not worse"."""
DRAWS = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The figures of one policy.

    Attributes:
        policy: its name.
        tables: number of tables.
        regret: mean regret of the winner, with the interval of the mean over tables.
        worst_table: the highest mean regret of a table.
        trials: mean number of trials.
        reached: median samples until within one seed's standard deviation, in whole trials; inf: in most runs never.
        reached_share: share of the runs which reached it.
        speed: median of the samples until the reference rival's final quality, over the rival's own.
    """

    policy: str
    tables: int
    regret: Interval
    worst_table: float
    trials: float
    reached: float
    reached_share: float
    speed: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The reference policy against one rival.

    Attributes:
        rival: its name.
        difference: mean of the reference's regret less the rival's, with the interval of the mean over tables.
        better: number of tables on which the reference has the lower mean regret.
        tables: number of tables.
        p_worse: Holm-corrected p-value of "the reference is worse by ``MARGIN`` or more"; small: it is not worse; 1
            with a single table.
    """

    rival: str
    difference: Interval
    better: int
    tables: int
    p_worse: float


def summarise(results: Sequence[RunResult], policy: str) -> Summary:
    """Return the figures of one policy from the runs of one variant, those of the reference rival among them."""
    runs = [one for one in results if one.policy == policy]
    regrets = _by_table(runs, lambda one: one.regret)
    reached = _by_table(runs, lambda one: one.reached / one.full_samples)
    ratios = [
        row for table in dict.fromkeys(one.table for one in runs) if (row := speed_ratios(results, policy, table))
    ]
    return Summary(
        policy=policy,
        tables=len(regrets),
        regret=_over_tables(regrets),
        worst_table=float(regrets.mean(axis=1).max()),
        trials=float(np.mean([one.trials for one in runs])),
        reached=float(_median(reached)),
        reached_share=float(np.mean(np.isfinite(reached))),
        speed=_median_interval(np.array(ratios)) if ratios else None,
    )


def compare(results: Sequence[RunResult], reference: str, rivals: Sequence[str]) -> list[Comparison]:
    """Compare the reference with each rival, on the tables where both ran, by pairs of equal table and seed."""
    tested = {rival: rows for rival in rivals if len(rows := _differences(results, reference, rival))}
    p_values = holm([_p_worse(rows) for rows in tested.values()])
    return [
        Comparison(
            rival=rival,
            difference=_over_tables(rows),
            better=sum(float(row.mean()) < 0 for row in rows),
            tables=len(rows),
            p_worse=p_worse,
        )
        for (rival, rows), p_worse in zip(tested.items(), p_values, strict=True)
    ]


def _differences(results: Sequence[RunResult], reference: str, rival: str) -> Array:
    """Return the reference's regret less the rival's, one row a table, one column a seed."""
    regrets = {(one.table, one.seed): one.regret for one in results if one.policy == rival}
    paired = [one for one in results if one.policy == reference and (one.table, one.seed) in regrets]
    return _by_table(paired, lambda one: one.regret - regrets[one.table, one.seed])


def _by_table(runs: Sequence[RunResult], value: Callable[[RunResult], float]) -> Array:
    """Return the values, one row a table, one column a seed."""
    tables: dict[str, list[float]] = {}
    for one in runs:
        tables.setdefault(one.table, []).append(value(one))
    return np.array(list(tables.values()))


def _over_tables(values: Array) -> Interval:
    """Return the mean over tables and seeds with Student's interval over tables; a single table: over its seeds."""
    means = values.mean(axis=1) if len(values) > 1 else values[0]
    if len(means) < 2:
        return Interval(value=float(means[0]), low=-math.inf, high=math.inf)
    return mean_interval(means)


def _p_worse(differences: Array) -> float:
    """Return the p-value of the one-sided t test over tables of "the mean difference is at least ``MARGIN``"."""
    means = differences.mean(axis=1)
    if len(means) < 2:
        return 1.0
    distance, error = float(means.mean()) - MARGIN, float(means.std(ddof=1)) / math.sqrt(len(means))
    if not math.isfinite(error):  # a run without a winner
        return 1.0
    if error == 0.0:
        return float(distance >= 0.0)
    return float(stdtr(len(means) - 1, distance / error))


def _median(values: Array) -> Array:
    """Return the upper median over the last two axes: a value of the sample, inf if at least half of them are."""
    flat = np.sort(values.reshape(*values.shape[:-2], -1), axis=-1)
    medians: Array = flat[..., flat.shape[-1] // 2]
    return medians


def _median_interval(values: Array) -> Interval:
    """Return the median with the bootstrap interval of resampled tables, each with resampled seeds."""
    draws = clustered_draws(values, _median, np.random.default_rng(0), DRAWS)
    return percentile_interval(float(_median(values)), draws)
