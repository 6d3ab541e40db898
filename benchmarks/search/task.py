"""Tasks: the recorded trials of one table, as costs.

A *cost* is the searched metric, negated if higher values are better. So lower is better everywhere in this package.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import ParamValue, Space
from orchestrator.replay.table import TableTrial, TrialTable
from orchestrator.replay.table_file import read_table
from orchestrator.replay.task import spec_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicate:
    """One recorded trial of a configuration.

    Attributes:
        samples: report points in training samples, ascending, at least one.
        costs: validation cost at each report point, finite.
        test_cost: cost of the best checkpoint on the test split, finite.
        recorded: sweep and number of the recorded trial; None: it comes from another source than a table.
    """

    samples: tuple[int, ...]
    costs: tuple[float, ...]
    test_cost: float
    recorded: tuple[str, int] | None = None

    def best_cost(self, until: int) -> float:
        """Return the lowest validation cost up to ``until`` samples, at least that of the first report."""
        return min(self.costs[0], *(cost for at, cost in zip(self.samples, self.costs, strict=True) if at <= until))


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """Parameter values and their recorded trials, which differ in their seeds."""

    params: Mapping[str, ParamValue]
    replicates: tuple[Replicate, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """The configurations of one table.

    Attributes:
        name: the table's name.
        configurations: at least one.
        space: the searched space; None: unknown, only policies without a model can search.
        start_points: partial points to try first; the first one is the default configuration.
        seed_deviation: standard deviation of a test cost between seeds; None: estimated from the replicates.
        table: the trials of the configurations; None: the task comes from another source.
    """

    name: str
    configurations: tuple[Configuration, ...]
    space: Space | None = None
    start_points: tuple[Mapping[str, ParamValue], ...] = ()
    seed_deviation: float | None = None
    table: TrialTable | None = field(default=None, repr=False)

    @property
    def full_samples(self) -> int:
        """Samples of the longest trial."""
        return max(replicate.samples[-1] for one in self.configurations for replicate in one.replicates)

    @property
    def first_samples(self) -> int:
        """The earliest report point."""
        return min(replicate.samples[0] for one in self.configurations for replicate in one.replicates)


def read_task(path: Path) -> Task:
    """Return the task of a Parquet file with a trial table.

    Raises:
        DataError: the file is no trial table.
        SpecError: the table's sweep file is invalid.
    """
    table = read_table(path)
    spec = spec_of(table)
    return task_of(table, space=spec.space, start_points=spec.start_points)


def task_of(table: TrialTable, *, space: Space, start_points: Sequence[Mapping[str, ParamValue]]) -> Task:
    """Return the task of a table. A value that is not finite becomes the worst finite value of the table.

    Raises:
        ValueError: no trial has a report and a test value.
    """
    groups = [[trial for trial in group if trial.reports and trial.test] for group in table.configurations()]
    groups = [group for group in groups if group]
    if not groups:
        raise ValueError(f"table {table.name}: no trial has a report and a test value; record it with tracking.record")
    trials = [trial for group in groups for trial in group]
    metric, tested = table.metric, table.metric.name.removeprefix("val/")
    worst = _worst(_cost(metric, report.metrics.get(metric.name)) for trial in trials for report in trial.reports)
    worst_test = _worst(_cost(metric, trial.test.get(tested)) for trial in trials)

    def replicate(trial: TableTrial) -> Replicate:
        costs = [_cost(metric, report.metrics.get(metric.name)) for report in trial.reports]
        return Replicate(
            samples=tuple(report.samples for report in trial.reports),
            costs=tuple(cost if math.isfinite(cost) else worst for cost in costs),
            test_cost=test if math.isfinite(test := _cost(metric, trial.test.get(tested))) else worst_test,
            recorded=(trial.sweep, trial.number),
        )

    configurations = tuple(
        Configuration(params=group[0].params, replicates=tuple(map(replicate, group))) for group in groups
    )
    return Task(
        name=table.name,
        configurations=configurations,
        space=space,
        start_points=tuple(start_points),
        table=replace(table, trials=tuple(trials)),
    )


def _cost(metric: Metric, value: float | None) -> float:
    if value is None:
        return math.nan
    return value if metric.direction is Direction.MINIMIZE else -value


def _worst(costs: Iterable[float]) -> float:
    return max((cost for cost in costs if math.isfinite(cost)), default=0.0)
