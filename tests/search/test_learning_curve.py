"""Trainings for the learning curve: which configuration, shares and seeds, and that the search sees none of them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from orchestrator.core.sweeps.goal import Constraint, goal
from orchestrator.core.sweeps.policy import CURVE_SHARES, Budget, Confirm, Confirmation
from orchestrator.core.trials.ranking import of_the_search, ranked_by_result
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.learning_curve import learning_curve_text, next_on_curve
from orchestrator.search.plan import SearchPlan
from tests.counting import counted, record_reads
from tests.search.worlds import ACCURACY, coordinator_in_memory, coordinator_of, open_ledger, plan_of, run_out

TWO = Confirmation(top=2, seeds=2)


def planned(trials: int = 6, confirm: Confirmation | Confirm = TWO, trainings: int = 2) -> SearchPlan:
    return replace(plan_of(trials=trials, confirm=confirm), learning_curve=trainings)


def curve_of(coordinator: Coordinator) -> list[TrialRecord]:
    return [record for record in coordinator.records() if record.share is not None]


def test_winner_is_trained_on_each_share() -> None:
    coordinator = coordinator_in_memory(planned())
    run_out(coordinator)
    found, winner = curve_of(coordinator), ranked_by_result(coordinator.records(), ACCURACY)[0]
    assert [record.share for record in found] == [*CURVE_SHARES, *CURVE_SHARES]
    assert {(record.confirms, record.settings) for record in found} == {(winner.number, winner.settings)}
    assert Counter(record.seed for record in found) == {found[0].seed: 4, found[4].seed: 4}
    assert min(record.number for record in found) == 10  # after the search and its confirmation
    assert not any(record.share for record in of_the_search(coordinator.records()))
    assert learning_curve_text(planned()) == (
        "the winner's configuration is trained 2 times on each of 12.5, 25, 50, 100 % of the rows, after the search: "
        "8 x 6,000 = 48,000 samples"
    )


def test_curve_is_trained_once(tmp_path: Path) -> None:
    run_out(coordinator_of(tmp_path, planned()))
    for trainings, expected in ((2, 8), (3, 12)):
        resumed = coordinator_of(tmp_path, planned(trainings=trainings))
        run_out(resumed)
        assert len(curve_of(resumed)) == expected


def test_measurement_after_the_search_changes_no_winner(tmp_path: Path) -> None:
    """A later measurement of another trial is better than all values of the search."""
    coordinator = coordinator_of(tmp_path, planned(confirm=Confirm.NONE, trainings=2))
    run_out(coordinator)
    winner = curve_of(coordinator)[0].confirms
    other = next(record.number for record in coordinator.records() if record.number != winner)
    open_ledger(tmp_path).trials.add_final(1, other, {ACCURACY.name: 1.0})
    resumed = coordinator_of(tmp_path, planned(confirm=Confirm.NONE, trainings=3))
    run_out(resumed)
    assert {record.confirms for record in curve_of(resumed)} == {winner}


def test_spent_tokens_leave_no_curve() -> None:
    coordinator = coordinator_in_memory(replace(planned(), budget=Budget(trials=4, tokens=1)))
    run_out(coordinator)
    assert not curve_of(coordinator)


def test_curve_is_of_the_winner_within_constraints() -> None:
    """The best trial is below the limit on a shift set, which is measured after a trial's end."""
    coordinator = coordinator_in_memory(plan_of(trials=4))
    run_out(coordinator)
    best, second = (record.number for record in ranked_by_result(coordinator.records(), ACCURACY)[:2])
    name = "shift/tweets/accuracy"
    records = [replace(record, final={name: 0.5 if record.number == best else 0.7}) for record in coordinator.records()]
    limited = goal(ACCURACY, constraints=[Constraint(name=name, min=0.6)])
    following = next_on_curve(replace(planned(4, Confirm.NONE), metric=limited), records)
    assert following is not None
    assert following.leader.number == second


def test_search_without_curve_reads_no_record() -> None:
    coordinator = coordinator_in_memory(plan_of(trials=2))
    run_out(coordinator)
    records = [counted(record) for record in coordinator.records()]
    with record_reads() as reads:
        assert next_on_curve(plan_of(trials=2), records) is None
    assert reads.count == 0
