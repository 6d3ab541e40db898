"""The order of trials: the best value of a metric first, equal values by trial number.

With constraints, trials that keep them come first, then those that violate them least (Deb 2000,
doi:10.1016/S0045-7825(99)00389-8). With several metrics the Pareto front comes first; the first metric orders its
trials and the others, equal values the next metric.

Two values rank a trial. The *score* is the best value reported during the search; decisions use it, so that later
measurements cannot change them. The *result* is the newest measurement of the same checkpoint; reports show it.

Trainings with fresh seeds (``TrialRecord.confirms``) have no place of their own. They decide the order of the trials
whose configurations they train.
"""

import math
from collections.abc import Callable, Iterable, Mapping

from orchestrator.core.metric import Metric
from orchestrator.core.trials.confirmed import confirmed
from orchestrator.core.trials.trial import TrialRecord

SortKey = tuple[float, tuple[float, ...], int]
"""The violation of the constraints, the values of the metrics, the number."""


def score_key(metric: Metric) -> Callable[[TrialRecord], SortKey]:
    """Return a sort key by score. Trials without a score come last."""
    return lambda trial: (trial.violation(metric), _values(metric, trial.reported_at_best(metric)), trial.number)


def result_key(metric: Metric) -> Callable[[TrialRecord], SortKey]:
    """Return a sort key by result. Trials without a result come last."""
    return lambda trial: (
        trial.violation(metric, newest=True),
        _values(metric, trial.at_best(metric)),
        trial.number,
    )


def front(trials: Iterable[TrialRecord], metric: Metric) -> frozenset[int]:
    """Return the numbers of the trials on the Pareto front, by result: no other trial is as good in all metrics.

    Of equal trials the first is on the front. Trials that violate a constraint are not on it. With one metric the front
    is the best trial.
    """
    return _front(_with_score(trials, metric), result_key(metric))


def _front(trials: Iterable[TrialRecord], key: Callable[[TrialRecord], SortKey]) -> frozenset[int]:
    found: list[SortKey] = []
    for violation, values, number in sorted(map(key, trials)):  # a later trial never dominates an earlier one
        dominated = any(all(a <= b for a, b in zip(other, values, strict=True)) for _, other, _ in found)
        if violation == 0 and not dominated and all(map(math.isfinite, values)):
            found.append((violation, values, number))
    return frozenset(number for _, _, number in found)


def _values(metric: Metric, measured: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(each.sort_key(measured.get(each.name)) for each in metric.metrics)


def _ranked(trials: Iterable[TrialRecord], metric: Metric, key: Callable[[TrialRecord], SortKey]) -> list[TrialRecord]:
    ranked = sorted(_with_score(trials, metric), key=key)
    if len(metric.metrics) > 1:
        first = _front(ranked, key)
        ranked.sort(key=lambda trial: trial.number not in first)
    return ranked


def ranked_by_score(trials: Iterable[TrialRecord], metric: Metric) -> list[TrialRecord]:
    """Return the trials with a score, ended or not, the best first."""
    return _ranked(trials, metric, score_key(metric))


def ranked_by_result(trials: Iterable[TrialRecord], metric: Metric) -> list[TrialRecord]:
    """Return the trials with a result, ended or not, the best first.

    Trials trained again with fresh seeds exchange their places among themselves: fewer failed trainings come first,
    then the better mean of the fresh results. The search's result of each was chosen as one of the best of many, so it
    is too high; the fresh ones are not. If the numbers of ended trainings differ, as many of each are compared as the
    trial with the fewest has.

    Trials within the constraints exchange no places with trials outside, nor trials on the front with dominated ones:
    fresh trainings do not change the trial's own adapter.
    """
    trials = tuple(trials)
    ranked = _ranked(trials, metric, result_key(metric))
    fresh = confirmed(trials)
    count = min((len(each.trainings) for each in fresh.values()), default=0)
    first = front(trials, metric) if fresh and len(metric.metrics) > 1 else frozenset[int]()

    def place(trial: TrialRecord) -> tuple[bool, bool, tuple[int, int, float]]:
        outside = trial.violation(metric, newest=True) > 0
        return outside, trial.number not in first, fresh[trial.number].key(metric, count)

    again = iter(sorted((trial for trial in ranked if trial.number in fresh), key=place))
    return [next(again) if trial.number in fresh else trial for trial in ranked]


def start_trials(trials: Iterable[TrialRecord], start_points: int) -> set[int]:
    """Return the numbers of the trials that train the start points: the first proposed ones, clones left out."""
    proposed = sorted(trial.number for trial in of_the_search(trials) if trial.origin is None)
    return {*proposed[:start_points]}


def of_the_search(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the trials proposed by the search, without the trainings with fresh seeds."""
    return [trial for trial in trials if trial.confirms is None]


def _with_score(trials: Iterable[TrialRecord], metric: Metric) -> Iterable[TrialRecord]:
    """Yield the search's trials with at least one number reported for ``metric``. They have a result too."""
    return (trial for trial in of_the_search(trials) if trial.best(metric) is not None)
