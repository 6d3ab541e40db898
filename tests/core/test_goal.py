"""Goals: constraints first, the Pareto front before the other trials, and the first metric within both."""

import math
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import Constraint, Goal, goal, metric_from_json
from orchestrator.core.trials.ranking import front, ranked_by_result, ranked_by_score
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.report.goal_lines import goal_lines

LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)
GAP = Metric(name="gap/loss", direction=Direction.MINIMIZE)
LIMIT = Constraint(name="gap/loss", max=0.3)


def trial(number: int, *values: tuple[float, float], state: TrialState = TrialState.COMPLETE) -> TrialRecord:
    """A trial with a report for each (loss, gap)."""
    reports = tuple(
        Report(
            trial=number,
            nominal_samples=100 * place,
            metrics={"val/loss": loss, "gap/loss": gap},
            checkpoint=None,
            started_at=0.0,
            ended_at=1.0,
        )
        for place, (loss, gap) in enumerate(values, start=1)
    )
    return TrialRecord(number=number, params={}, settings=TrialSettings(), seed=0, state=state, reports=reports)


def numbers(trials: list[TrialRecord]) -> list[int]:
    return [one.number for one in trials]


def test_trials_within_constraints_come_first() -> None:
    limited = goal(LOSS, constraints=[LIMIT])
    trials = [trial(0, (0.1, 0.9)), trial(1, (0.5, 0.2)), trial(2, (0.4, 0.3)), trial(3, (0.2, 0.5))]
    assert numbers(ranked_by_score(trials, limited)) == [2, 1, 3, 0]
    assert numbers(ranked_by_score(trials, LOSS)) == [0, 3, 2, 1]
    measured = replace(trials[0], final={"gap/loss": 0.1})  # in float32, after the search
    assert numbers(ranked_by_result([measured, *trials[1:]], limited)) == [0, 2, 1, 3]
    assert numbers(ranked_by_score([measured, *trials[1:]], limited)) == [2, 1, 3, 0]


def test_best_checkpoint_violates_constraints_least() -> None:
    limited = goal(LOSS, constraints=[LIMIT])
    kept = trial(0, (0.6, 0.1), (0.5, 0.2), (0.3, 0.8)).best(limited)
    assert kept is not None
    assert kept.nominal_samples == 200
    none_kept = trial(0, (0.6, 0.5), (0.5, 0.4), (0.3, 0.8)).best(limited)
    assert none_kept is not None
    assert none_kept.nominal_samples == 200


def test_unmeasured_metric_violates_its_constraint() -> None:
    limited = goal(LOSS, constraints=[Constraint(name="shift/tweets/accuracy", min=0.6)])
    measured = replace(trial(0, (0.5, 0.1)), final={"shift/tweets/accuracy": 0.7})
    trials = [trial(1, (0.1, 0.1)), measured]
    assert [one.violation(limited) for one in trials] == [math.inf, 0.0]
    assert numbers(ranked_by_score(trials, limited)) == [0, 1]
    assert Constraint(name="x", max=1.0).excess(math.nan) == math.inf


def test_front_comes_before_dominated_trials() -> None:
    both = goal(LOSS, [GAP])
    trials = [
        trial(0, (0.5, 0.1)),
        trial(1, (0.4, 0.2)),
        trial(2, (0.45, 0.3)),  # worse than trial 1 in both
        trial(3, (0.4, 0.2)),  # equal to trial 1
        trial(4, (0.3, 0.6)),
        trial(5, (0.2, float("nan"))),
    ]
    assert front(trials, both) == {0, 1, 4}
    assert numbers(ranked_by_result(trials, both)) == [4, 1, 0, 5, 3, 2]
    assert front(trials, goal(LOSS, [GAP], [LIMIT])) == {0, 1}


def fresh(number: int, confirms: int, *values: tuple[float, float]) -> TrialRecord:
    return replace(trial(number, *values), confirms=confirms)


def test_fresh_seeds_move_no_trial_within_constraints() -> None:
    """The fresh trainings of trial 1 keep the limit and are the best; its own adapter is outside."""
    limited = goal(LOSS, constraints=[LIMIT])
    searched = [trial(0, (0.5, 0.2)), trial(1, (0.1, 0.35)), trial(2, (0.6, 0.1))]
    trained_again = [fresh(3, 0, (0.5, 0.2)), fresh(4, 1, (0.1, 0.2)), fresh(5, 2, (0.4, 0.1))]
    assert numbers(ranked_by_result([*searched, *trained_again], limited)) == [2, 0, 1]


def test_fresh_seeds_move_no_dominated_trial_to_the_front() -> None:
    both = goal(LOSS, [GAP])
    searched = [trial(0, (0.4, 0.2)), trial(1, (0.45, 0.3)), trial(2, (0.5, 0.1))]  # trial 0 dominates trial 1
    assert numbers(ranked_by_result(searched, both)) == [0, 2, 1]
    [(_, alone)] = goal_lines(searched, both)
    assert "Trial 0 is preferred: the best val/loss." in alone
    trained_again = [fresh(3 + number, number, (loss, 0.2)) for number, loss in enumerate((0.5, 0.3, 0.4))]
    assert numbers(ranked_by_result([*searched, *trained_again], both)) == [2, 0, 1]
    [(_, sentence)] = goal_lines([*searched, *trained_again], both)
    assert "Trial 2 is preferred: after its confirmation with fresh seeds." in sentence


@pytest.mark.parametrize("metric", [LOSS, goal(LOSS, [GAP]), goal(LOSS, [GAP], [LIMIT])])
def test_stored_goal_is_read_back(metric: Metric) -> None:
    stored: dict[str, Any] = {"name": "val/loss", "direction": "minimize"}
    if isinstance(metric, Goal):
        stored |= {
            "also": [{"name": "gap/loss", "direction": "minimize"}],
            "constraints": [{"name": "gap/loss", "min": None, "max": 0.3} for _ in metric.constraints],
        }
    assert metric_from_json(stored) == metric
    assert type(goal(LOSS)) is Metric
