"""Paired comparison of policies over tables and seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.results import RunResult, speed_ratios
from orchestrator.statistics.intervals import Interval
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
        regret: mean regret of the winner.
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
        difference: mean of the reference's regret less the rival's, over tables and seeds.
        better: number of tables on which the reference has the lower mean regret.
        tables: number of tables.
        p_worse: Holm-corrected p-value of "the reference is worse by ``MARGIN`` or more"; small: it is not worse.
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
        regret=_interval(regrets, _mean),
        worst_table=float(regrets.mean(axis=1).max()),
        trials=float(np.mean([one.trials for one in runs])),
        reached=float(_median(reached)),
        reached_share=float(np.mean(np.isfinite(reached))),
        speed=_interval(np.array(ratios), _median) if ratios else None,
    )


def compare(results: Sequence[RunResult], reference: str, rivals: Sequence[str]) -> list[Comparison]:
    """Compare the reference with each rival, on the tables where both ran, by pairs of equal table and seed."""
    tested = {rival: rows for rival in rivals if len(rows := _differences(results, reference, rival))}
    draws = {rival: _bootstrap(rows, _mean) for rival, rows in tested.items()}
    p_values = holm([(1 + np.count_nonzero(each >= MARGIN)) / (1 + DRAWS) for each in draws.values()])
    return [
        Comparison(
            rival=rival,
            difference=_interval(rows, _mean),
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


def _mean(values: Array) -> Array:
    """Return the mean over the last two axes, tables and seeds."""
    means: Array = values.mean(axis=(-2, -1))
    return means


def _median(values: Array) -> Array:
    """Return the upper median over the last two axes: a value of the sample, inf if at least half of them are."""
    flat = np.sort(values.reshape(*values.shape[:-2], -1), axis=-1)
    medians: Array = flat[..., flat.shape[-1] // 2]
    return medians


def _bootstrap(values: Array, statistic: Callable[[Array], Array]) -> Array:
    """Return the statistic of resampled tables, each with resampled seeds."""
    return clustered_draws(values, statistic, np.random.default_rng(0), DRAWS)


def _interval(values: Array, statistic: Callable[[Array], Array]) -> Interval:
    return percentile_interval(float(statistic(values)), _bootstrap(values, statistic))
