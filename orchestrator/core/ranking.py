"""The order of trials: the best value of a metric first, equal values by trial number.

Two values rank a trial. The *score* is the best value reported during the search; decisions use it, so that later
measurements cannot change them. The *result* is the newest measurement of the same checkpoint; reports show it.
"""

from collections.abc import Callable, Iterable

from orchestrator.core.metric import Metric
from orchestrator.core.trial import TrialRecord

SortKey = tuple[float, int]


def score_key(metric: Metric) -> Callable[[TrialRecord], SortKey]:
    """Return a sort key by score. Trials without a score come last."""
    return lambda trial: (metric.sort_key(trial.score(metric)), trial.number)


def result_key(metric: Metric) -> Callable[[TrialRecord], SortKey]:
    """Return a sort key by result. Trials without a result come last."""
    return lambda trial: (metric.sort_key(trial.result(metric)), trial.number)


def ranked_by_score(trials: Iterable[TrialRecord], metric: Metric) -> list[TrialRecord]:
    """Return the trials with a score, ended or not, the best first."""
    return sorted(_with_score(trials, metric), key=score_key(metric))


def ranked_by_result(trials: Iterable[TrialRecord], metric: Metric) -> list[TrialRecord]:
    """Return the trials with a result, ended or not, the best first."""
    return sorted(_with_score(trials, metric), key=result_key(metric))


def _with_score(trials: Iterable[TrialRecord], metric: Metric) -> Iterable[TrialRecord]:
    """Yield the trials with at least one number reported for ``metric``. They have a result too."""
    return (trial for trial in trials if trial.best(metric) is not None)
