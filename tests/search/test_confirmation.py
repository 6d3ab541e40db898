"""Trainings with fresh seeds: which configurations, how many, and what the search sees of them."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.sweeps.policy import Budget, Confirm, Confirmation, StoppingName, StoppingPolicy
from orchestrator.core.trials.confirmed import confirmed
from orchestrator.core.trials.ranking import ranked_by_result, ranked_by_score
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.search.confirmation import confirmation_result, confirmation_text
from orchestrator.search.coordinator import Coordinator
from tests.search.worlds import ACCURACY, POINTS, coordinator_in_memory, coordinator_of, curve, plan_of, run_out

NO_RULE = StoppingPolicy(rule=StoppingName.NONE)
TWO_BY_TWO = Confirmation(top=2, seeds=2)


def finished(trials: int = 6, confirm: Confirmation | Confirm = TWO_BY_TWO) -> Coordinator:
    coordinator = coordinator_in_memory(plan_of(trials=trials, confirm=confirm))
    run_out(coordinator)
    return coordinator


def fresh(coordinator: Coordinator) -> list[TrialRecord]:
    return [record for record in coordinator.records() if record.confirms is not None]


def test_leaders_are_trained_with_fresh_seeds() -> None:
    coordinator = finished()
    leaders = [record.number for record in ranked_by_score(coordinator.records(), ACCURACY)[:2]]
    assert [record.confirms for record in fresh(coordinator)] == [*leaders, *leaders]
    assert [record.number for record in fresh(coordinator)] == [6, 7, 8, 9]
    assert len({record.seed for record in coordinator.records()}) == 10
    for record in fresh(coordinator):
        assert record.confirms is not None
        leader = coordinator.records()[record.confirms]
        assert (record.params, record.settings) == (leader.params, leader.settings)


def test_fresh_trainings_run_to_their_end() -> None:
    """No rung stops them, although they are compared with nobody."""
    assert {(record.samples, record.state) for record in fresh(finished(9))} == {(POINTS[-1], TrialState.COMPLETE)}


def test_search_does_not_see_fresh_trainings(tmp_path: Path) -> None:
    plain, plan = plan_of(trials=6), plan_of(trials=6, confirm=TWO_BY_TWO)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    without, coordinator = coordinator_of(tmp_path / "a", plain), coordinator_of(tmp_path / "b", plan)
    run_out(without)
    run_out(coordinator)
    more = replace(plan, budget=Budget(trials=9))
    extended, alone = (
        coordinator_of(tmp_path / "b", more),
        coordinator_of(tmp_path / "a", replace(more, confirm=Confirm.NONE)),
    )
    run_out(extended)
    run_out(alone)
    searched = [dict(record.params) for record in extended.records() if record.confirms is None]
    assert searched[:6] == [dict(record.params) for record in alone.records()][:6]
    assert len(searched) == 9
    assert extended.exhausted_reason == "all 9 trials were started"


def test_larger_confirmation_repeats_no_training(tmp_path: Path) -> None:
    run_out(coordinator_of(tmp_path, plan_of(trials=6, confirm=TWO_BY_TWO)))
    resumed = coordinator_of(tmp_path, plan_of(trials=6, confirm=Confirmation(top=3, seeds=2)))
    run_out(resumed)
    leaders = [record.number for record in ranked_by_score(resumed.records(), ACCURACY)[:3]]
    assert [record.confirms for record in fresh(resumed)] == [*leaders[:2], *leaders[:2], leaders[2], leaders[2]]


@pytest.mark.parametrize(
    ("trials", "expected"),
    [(5, 0), (14, 2), (27, 4), (40, 6), (60, 9), (100, 15)],  # 15 % of 5, 14 ... full trials
)
def test_auto_spends_at_most_its_share(trials: int, expected: int) -> None:
    plan = plan_of(trials=trials, stopping=NO_RULE, reports=2, confirm=Confirm.AUTO)
    coordinator = coordinator_in_memory(plan)
    run_out(coordinator)
    assert len(fresh(coordinator)) == expected
    notes = coordinator.take_notes()
    assert any(("no training with fresh seeds" if expected == 0 else "fresh seeds each") in note for note in notes)
    assert confirmation_result(plan, coordinator.records()) in notes  # the report gives the same reason


def test_without_confirmation_nothing_is_trained_again() -> None:
    coordinator = finished(confirm=Confirm.NONE)
    assert not fresh(coordinator)
    assert coordinator.exhausted_reason == "all 6 trials were started"


def test_spent_tokens_leave_no_fresh_training() -> None:
    plan = replace(plan_of(confirm=TWO_BY_TWO), budget=Budget(trials=4, tokens=1))
    coordinator = coordinator_in_memory(plan)
    run_out(coordinator)
    assert not fresh(coordinator)
    stated = confirmation_result(plan, coordinator.records())
    assert stated.startswith("confirmation: as confirm asks, 2 x 2 trainings; 0 of ")
    assert stated.endswith(" trainings were started before the limit of time or tokens")


def test_means_of_fresh_seeds_order_the_leaders() -> None:
    """The search's best was lucky: with fresh seeds the second is better. The third was not trained again."""

    def lucky(record: TrialRecord, samples: int) -> Report:
        report = curve(record, samples)
        heights = {0: 0.80, 1: 0.82, 2: 0.81, 3: 0.79}
        value = heights[record.number] if record.confirms is None else {1: 0.75, 2: 0.78}[record.confirms]
        return replace(report, metrics={**report.metrics, ACCURACY.name: value})

    coordinator = coordinator_in_memory(plan_of(trials=4, stopping=NO_RULE, reports=1, confirm=TWO_BY_TWO))
    run_out(coordinator, lucky)
    records = coordinator.records()
    assert [record.number for record in ranked_by_score(records, ACCURACY)] == [1, 2, 0, 3]
    assert [record.number for record in ranked_by_result(records, ACCURACY)] == [2, 1, 0, 3]
    assert confirmed(records)[2].values(ACCURACY) == (0.78, 0.78)


def diverging(record: TrialRecord, samples: int) -> Report:
    """Train the search's trials well; the loss of fresh trainings diverges."""
    report = curve(record, samples)
    return report if record.confirms is None else replace(report, metrics={**report.metrics, "train/loss": math.nan})


def test_failed_fresh_trainings_do_not_end_the_sweep(tmp_path: Path) -> None:
    plan = plan_of(trials=9, confirm=Confirmation(top=3, seeds=5))
    coordinator = coordinator_of(tmp_path, plan)
    run_out(coordinator, diverging)
    assert Counter(record.state for record in fresh(coordinator)) == {TrialState.FAIL: 15}
    assert (coordinator.failing, coordinator.exhausted_reason) == (None, "all 9 trials were started")
    assert coordinator_of(tmp_path, plan).exhausted_reason == "all 9 trials were started"


def test_failed_trial_is_not_confirmed() -> None:
    """The best trial crashed after its first report: with another seed it would crash again."""

    def crashing(record: TrialRecord, samples: int) -> Report:
        if record.number == 2 and samples > POINTS[0]:
            raise MemoryError
        report = curve(record, samples)
        return replace(report, metrics={**report.metrics, ACCURACY.name: 0.99}) if record.number == 2 else report

    coordinator = coordinator_in_memory(plan_of(trials=5, stopping=NO_RULE, confirm=TWO_BY_TWO))
    run_out(coordinator, crashing)
    assert ranked_by_score(coordinator.records(), ACCURACY)[0].number == 2
    assert 2 not in {record.confirms for record in fresh(coordinator)}
    assert len(fresh(coordinator)) == 4


def test_configuration_with_failed_seed_comes_after_others() -> None:
    coordinator = finished(4)
    first, second = (record.number for record in ranked_by_score(coordinator.records(), ACCURACY)[:2])
    failing = next(record for record in fresh(coordinator) if record.confirms == first)
    records = [
        replace(record, state=TrialState.FAIL) if record is failing else record for record in coordinator.records()
    ]
    assert [record.number for record in ranked_by_result(records, ACCURACY)[:2]] == [second, first]
    assert confirmed(records)[first].failed == 1
    assert failing not in confirmed(records)[first].whole


def test_ended_fresh_trainings_count_before_all_have_ended() -> None:
    """A limit may end the sweep in between: as many of each configuration are compared as have ended."""
    coordinator = finished(4)
    last = fresh(coordinator)[-1]
    records = [
        replace(record, state=TrialState.RUNNING) if record is last else record for record in coordinator.records()
    ]
    assert {number: len(each.trainings) for number, each in confirmed(records).items()} == {
        number: 1 if number == last.confirms else 2 for number in confirmed(coordinator.records())
    }
    assert len(ranked_by_result(records, ACCURACY)) == 4


def test_auto_confirms_only_kept_adapters() -> None:
    plan = replace(plan_of(trials=60, stopping=NO_RULE, reports=2, confirm=Confirm.AUTO), keep_adapters=1)
    coordinator = coordinator_in_memory(plan)
    run_out(coordinator)
    assert len({record.confirms for record in fresh(coordinator)}) == 1


def test_plan_names_the_cost() -> None:
    text = confirmation_text(plan_of(confirm=TWO_BY_TWO))
    assert "4 x 6,000 = 24,000 samples" in text
    assert "15 %" in confirmation_text(plan_of(confirm=Confirm.AUTO))
    assert confirmation_text(plan_of()).startswith("none")
    by_time = replace(plan_of(confirm=Confirm.AUTO), budget=Budget(wall_time_s=60.0))
    assert confirmation_text(by_time) == "none: the search spends the whole limit of time or tokens"
    both = replace(plan_of(confirm=TWO_BY_TWO), budget=Budget(trials=4, wall_time_s=60.0))
    assert confirmation_text(both).endswith("if the limits of time and tokens allow")


def test_each_training_of_a_leader_has_another_fold() -> None:
    confirm = Confirmation(top=2, seeds=3, folds=True)
    coordinator = finished(confirm=confirm)
    leaders = [record.number for record in ranked_by_score(coordinator.records(), ACCURACY)[:2]]
    expected = [(leader, fold) for fold in (1, 2, 3) for leader in leaders]
    assert [(record.confirms, record.task.fold) for record in fresh(coordinator)] == expected
    assert "on 3 other folds of the rows" in confirmation_text(plan_of(confirm=confirm))
