"""The order of trials by score and by result."""

from dataclasses import replace

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.trials.ranking import ranked_by_result, ranked_by_score, result_key, score_key
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
ERROR = Metric(name="val/accuracy", direction=Direction.MINIMIZE)


def trial(number: int, *scores: float, state: TrialState = TrialState.COMPLETE) -> TrialRecord:
    """A trial with one report per score, 100 samples apart."""
    reports = tuple(
        Report(
            trial=number,
            nominal_samples=100 * (index + 1),
            metrics={"val/accuracy": score},
            checkpoint=None,
            started_at=0.0,
            ended_at=1.0,
        )
        for index, score in enumerate(scores)
    )
    return TrialRecord(number=number, params={}, settings=TrialSettings(), seed=0, state=state, reports=reports)


def numbers(trials: list[TrialRecord]) -> list[int]:
    return [one.number for one in trials]


def test_best_value_ranks_whatever_the_outcome() -> None:
    trials = [
        trial(0, 0.7),
        trial(1, 0.9, 0.6, state=TrialState.PRUNED),
        trial(2, 0.8, state=TrialState.FAIL),
        trial(3, 0.99, state=TrialState.RUNNING),
        trial(4, 0.8),
        trial(5),
        trial(6, float("nan")),
    ]
    assert numbers(ranked_by_score(trials, ACCURACY)) == [3, 1, 2, 4, 0]


def test_rank_follows_the_metrics_direction() -> None:
    trials = [trial(0, 0.7, 0.5), trial(1, 0.6), trial(2, 0.7), trial(3), trial(4, float("nan"))]
    assert numbers(ranked_by_result(trials, ACCURACY)) == [0, 2, 1]
    assert numbers(ranked_by_result(trials, ERROR)) == [0, 1, 2]


def test_later_measurement_changes_result_but_not_score() -> None:
    measured = replace(trial(0, 0.9, 0.6), final={"val/accuracy": 0.8})
    trials = [measured, trial(1, 0.85, state=TrialState.PRUNED)]
    assert numbers(ranked_by_score(trials, ACCURACY)) == [0, 1]
    assert numbers(ranked_by_result(trials, ACCURACY)) == [1, 0]


def test_trials_without_a_value_sort_last() -> None:
    trials = [trial(0), trial(1, 0.5)]
    assert numbers(sorted(trials, key=score_key(ACCURACY))) == [1, 0]
    assert numbers(sorted(trials, key=result_key(ACCURACY))) == [1, 0]
