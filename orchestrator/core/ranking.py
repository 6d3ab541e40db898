"""The order of trials: the best value of a metric first, equal values by trial number.

Two values rank a trial. The *score* is the best value reported during the search; decisions use it, so that later
measurements cannot change them. The *result* is the newest measurement of the same checkpoint; reports show it.

Trainings with fresh seeds (``TrialRecord.confirms``) have no place of their own. They decide the order of the trials
whose configurations they train.
"""

from collections.abc import Callable, Iterable

from orchestrator.core.confirmed import confirmed
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
    """Return the trials with a result, ended or not, the best first.

    Trials trained again with fresh seeds exchange their places among themselves: fewer failed trainings come first,
    then the better mean of the fresh results. The search's result of each was chosen as one of the best of many, so it
    is too high; the fresh ones are not. If the numbers of ended trainings differ, as many of each are compared as the
    trial with the fewest has.
    """
    trials = tuple(trials)
    ranked = sorted(_with_score(trials, metric), key=result_key(metric))
    fresh = confirmed(trials)
    count = min((len(each.trainings) for each in fresh.values()), default=0)
    again = iter(
        sorted((t for t in ranked if t.number in fresh), key=lambda trial: fresh[trial.number].key(metric, count))
    )
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
