"""The progress of a search: its best value over the training samples spent, and the trials left at each report."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.core.metric import Metric
from orchestrator.core.trials.trial import TrialRecord, TrialState

Standing: TypeAlias = tuple[float, float]
"""Violation of the constraints, sort key of the searched metric."""
NO_VALUE: Standing = (math.inf, math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialBest:
    """The best value of a trial in the search.

    Attributes:
        trial: the trial's number.
        spent: training samples of all trials up to the report with this value.
        value: the searched metric.
    """

    trial: int
    spent: int
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The course of a search over the training samples of all trials.

    Attributes:
        trials: the best value of each trial with a value, by trial number.
        improvements: each report better than all earlier ones, in order; see ``standing``.
        spent: training samples of all reports.
    """

    trials: tuple[TrialBest, ...]
    improvements: tuple[TrialBest, ...]
    spent: int


def progress(records: Sequence[TrialRecord], metric: Metric) -> Progress:
    """Return the progress. Reports count in the order of their time; work lost in a crash is not counted."""
    reports = [report for record in records for report in record.reports]
    reports.sort(key=lambda report: (report.ended_at, report.trial, report.nominal_samples))
    trained: defaultdict[int, int] = defaultdict(int)
    bests: dict[int, tuple[Standing, TrialBest]] = {}
    improvements: list[TrialBest] = []
    best, spent = NO_VALUE, 0
    for report in reports:
        spent += report.nominal_samples - trained[report.trial]
        trained[report.trial] = report.nominal_samples
        place = standing(report.metrics, metric)
        if place >= NO_VALUE:
            continue
        reached = TrialBest(trial=report.trial, spent=spent, value=report.metrics[metric.name])
        if report.trial not in bests or place < bests[report.trial][0]:
            bests[report.trial] = place, reached
        if place < best:
            best = place
            improvements.append(reached)
    return Progress(
        trials=tuple(bests[number][1] for number in sorted(bests)), improvements=tuple(improvements), spent=spent
    )


def standing(metrics: Mapping[str, float], metric: Metric) -> Standing:
    """Return a sort key of one report, the best first: the violation of the constraints, then the metric's value.

    ``NO_VALUE`` without a value.
    """
    value = metric.sort_key(metrics.get(metric.name))
    return (metric.violation(metrics), value) if math.isfinite(value) else NO_VALUE


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The trials with a report at one report point.

    Attributes:
        samples: the report point, in nominal training samples.
        reached: number of trials with a report here.
        passed: number of trials with a later report.
        ended: number of trials with their last report here, by state.
    """

    samples: int
    reached: int
    passed: int
    ended: Mapping[TrialState, int]


def stages(records: Sequence[TrialRecord]) -> tuple[Stage, ...]:
    """Return the stages of all report points, ascending."""
    reached = Counter(report.nominal_samples for record in records for report in record.reports)
    ended = Counter((record.samples, record.state) for record in records if record.reports)
    found = []
    for samples in sorted(reached):
        here = {state: ended[samples, state] for state in TrialState if ended[samples, state]}
        passed = reached[samples] - sum(here.values())
        found.append(Stage(samples=samples, reached=reached[samples], passed=passed, ended=here))
    return tuple(found)
