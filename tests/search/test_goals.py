"""Searches for several metrics or within constraints: what the samplers see, and the same after kills."""

import random
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import FloatRange, Parameter, Space
from orchestrator.core.sweeps.goal import Constraint, Goal, goal
from orchestrator.core.sweeps.policy import Confirmation, SamplerName, StoppingName, StoppingPolicy
from orchestrator.core.trials.ranking import front, ranked_by_score
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.search.surrogate.feasibility import expected_excesses
from tests.search.test_coordinator_kills import killed_again_and_again, uninterrupted
from tests.search.worlds import (
    ACCURACY,
    coordinator_in_memory,
    coordinator_of,
    essence,
    plan_of,
    report_of,
    run_out,
    step,
)

GAP = Metric(name="gap/loss", direction=Direction.MINIMIZE)
LIMITED = goal(ACCURACY, constraints=[Constraint(name="gap/loss", max=0.3)])
BOTH = goal(ACCURACY, [GAP])
SPACE = Space(
    parameters=(
        Parameter(name="dropout", distribution=FloatRange(low=0.0, high=0.9)),
        Parameter(name="label_smoothing", distribution=FloatRange(low=0.0, high=0.9)),
    )
)


def measured(record: TrialRecord, samples: int) -> Report:
    """Accuracy and gap fall with the dropout: the best trials without a constraint have a gap of 0.9."""
    dropout, smoothing = record.settings.dropout, record.settings.label_smoothing
    accuracy = 0.9 - 0.5 * dropout - 0.2 * abs(smoothing - 0.4)
    return report_of(record.number, samples, accuracy, gap__loss=0.9 - dropout)


def noisy(record: TrialRecord, samples: int) -> Report:
    """The gap has a noise of 0.03 (standard deviation), as between seeds."""
    report = measured(record, samples)
    noise = random.Random(f"{record.number} {record.settings.dropout}").gauss(0, 0.03)
    return replace(report, metrics={**report.metrics, "gap/loss": report.metrics["gap/loss"] + noise})


def plan(metric: Metric, sampler: SamplerName, trials: int = 30) -> SearchPlan:
    rule = StoppingPolicy(rule=StoppingName.NONE, patience=None)
    return replace(plan_of(space=SPACE, trials=trials, sampler=sampler, stopping=rule, reports=1), metric=metric)


def searched(metric: Metric, sampler: SamplerName) -> tuple[TrialRecord, ...]:
    coordinator = coordinator_in_memory(plan(metric, sampler))
    run_out(coordinator, noisy if sampler is SamplerName.SURROGATE else measured)
    return coordinator.records()


@pytest.mark.parametrize("sampler", [SamplerName.SURROGATE, SamplerName.TPE, SamplerName.GP, SamplerName.NSGAII])
def test_sampler_honours_constraints(sampler: SamplerName) -> None:
    def kept(records: tuple[TrialRecord, ...]) -> int:
        return sum(record.violation(LIMITED) == 0 for record in records[10:])

    within = searched(LIMITED, sampler)
    assert kept(within) > kept(searched(ACCURACY, sampler))
    assert kept(within) >= 10  # of 20; a third of the space keeps the constraint
    winner = ranked_by_score(within, LIMITED)[0]
    assert winner.violation(LIMITED) == 0
    assert winner.score(ACCURACY) == max(r.score(ACCURACY) for r in within if r.violation(LIMITED) == 0)  # type: ignore[type-var]  # each has a score


def test_surrogate_avoids_constraint_measured_at_the_end() -> None:
    def finals(metric: Metric) -> tuple[TrialRecord, ...]:
        """Search with a forgetting as large as the gap, known when a trial has ended."""
        coordinator = coordinator_in_memory(plan(metric, SamplerName.SURROGATE))
        while (task := coordinator.next_task()) is not None:
            coordinator.report(measured(coordinator.records()[task.number], 1000))
            coordinator.finish(task.number, {"forgetting/loss": 0.9 - task.settings.dropout})
        return coordinator.records()

    forgets = goal(ACCURACY, constraints=[Constraint(name="forgetting/loss", max=0.3)])
    kept, free = (sum(r.violation(forgets) == 0 for r in finals(each)[10:]) for each in (forgets, ACCURACY))
    assert kept >= 9 > free + 4


def test_later_measurements_change_no_expected_excess() -> None:
    """A kept adapter is measured again after the search; the search may then be extended."""

    def gaps(record: TrialRecord, samples: int) -> Report:
        accuracy = 0.5 - 0.1 * (record.number // 2) + samples / 10_000
        return report_of(record.number, samples, accuracy, gap__loss=0.05 * samples / 1000)

    asha = StoppingPolicy(rule=StoppingName.ASHA, reduction_factor=2, cohort=4, patience=None)
    coordinator = coordinator_in_memory(replace(plan_of(trials=4, stopping=asha, reports=3), metric=LIMITED))
    run_out(coordinator, gaps)
    records = coordinator.records()
    assert [record.state for record in records] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 2
    assert isinstance(LIMITED, Goal)
    expected = expected_excesses(LIMITED, records)
    again = [replace(record, final={**record.final, "gap/loss": 0.1}) for record in records]
    assert expected_excesses(LIMITED, again) == expected


def test_trial_outside_constraints_never_leads_a_rung() -> None:
    def gaps(record: TrialRecord, samples: int) -> Report:
        """Even trials have the better accuracy, outside the constraint."""
        even = record.number % 2 == 0
        return report_of(record.number, samples, 0.9 if even else 0.8, gap__loss=0.5 if even else 0.1)

    asha = StoppingPolicy(rule=StoppingName.ASHA, reduction_factor=2, cohort=4, patience=None)
    coordinator = coordinator_in_memory(replace(plan_of(trials=6, stopping=asha, reports=3), metric=LIMITED))
    run_out(coordinator, gaps)
    states = {record.number: record.state for record in coordinator.records()}
    assert [number for number, state in states.items() if state is TrialState.COMPLETE] == [1, 3, 5]


@pytest.mark.parametrize("sampler", [SamplerName.TPE, SamplerName.RANDOM])
def test_search_goes_on_after_failed_first_trial(sampler: SamplerName, tmp_path: Path) -> None:
    def crashing(record: TrialRecord, samples: int) -> Report:
        if record.number < 2:
            raise MemoryError
        return measured(record, samples)

    def states(coordinator: Coordinator) -> list[TrialState]:
        return [record.state for record in coordinator.records()]

    searching = plan(LIMITED, sampler, trials=4)
    coordinator = coordinator_of(tmp_path, searching)
    for _ in range(2):
        task = coordinator.next_task()
        assert task is not None
        step(coordinator, coordinator.records()[task.number], crashing)
    assert states(coordinator) == [TrialState.FAIL] * 2
    resumed = coordinator_of(tmp_path, searching)
    run_out(resumed, crashing)
    assert states(resumed) == [*[TrialState.FAIL] * 2, *[TrialState.COMPLETE] * 2]


@pytest.mark.parametrize(("within", "expected"), [({1}, {1}), (set(), {2, 3})])
def test_trials_outside_constraints_are_not_confirmed(within: set[int], expected: set[int]) -> None:
    def higher_each_time(record: TrialRecord, samples: int) -> Report:
        gap = 0.2 if record.number in within else 0.4
        return report_of(record.number, samples, 0.5 + 0.1 * record.number, gap__loss=gap)

    searching = replace(plan(LIMITED, SamplerName.RANDOM, trials=4), confirm=Confirmation(top=2, seeds=1))
    coordinator = coordinator_in_memory(searching)
    run_out(coordinator, higher_each_time)
    assert {record.confirms for record in coordinator.records()} == {None, *expected}


@pytest.mark.parametrize("sampler", [SamplerName.TPE, SamplerName.GP, SamplerName.NSGAII, SamplerName.RANDOM])
def test_front_equals_that_of_optuna(sampler: SamplerName, tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan(BOTH, sampler, trials=15))
    run_out(coordinator, measured)
    study = optuna.load_study(study_name="sentiment#1", storage=f"sqlite:///{tmp_path / 'ledger.db'}")
    found = {trial.user_attrs["loratory"]["trial"] for trial in study.best_trials}
    assert found == front(coordinator.records(), BOTH)
    assert len(found) > 1
    assert ranked_by_score(coordinator.records(), BOTH)[0].number in found


@pytest.mark.parametrize(
    ("metric", "sampler"),
    [
        (LIMITED, SamplerName.TPE),
        (LIMITED, SamplerName.SURROGATE),
        (BOTH, SamplerName.TPE),
        (goal(ACCURACY, [GAP], [Constraint(name="gap/loss", max=0.3)]), SamplerName.TPE),
    ],
)
def test_kills_change_no_goal(metric: Metric, sampler: SamplerName, tmp_path: Path) -> None:
    searching = replace(plan(metric, sampler, trials=8), confirm=Confirmation(top=1, seeds=1))
    expected = uninterrupted(tmp_path / "whole", searching, measured)
    assert killed_again_and_again(tmp_path / "killed", searching, 23, measured) > 0
    assert essence(coordinator_of(tmp_path / "killed", searching)) == expected[0]
    records = coordinator_of(tmp_path / "killed", searching).records()
    assert records[-1].confirms == ranked_by_score(records[:8], metric)[0].number


def test_pruned_trial_counts_in_study_of_several_metrics(tmp_path: Path) -> None:
    searching = replace(plan(BOTH, SamplerName.TPE, trials=2), timetable=plan_of(reports=3).timetable)
    coordinator = coordinator_of(tmp_path, searching)
    for _ in range(2):
        task = coordinator.next_task()
        assert task is not None
        if task.number == 0:
            coordinator.report(measured(coordinator.records()[0], 1000))
        coordinator.cut_short(task.number, "no further checkpoint")
    assert {record.state for record in coordinator.records()} == {TrialState.PRUNED}
    study = optuna.load_study(study_name="sentiment#1", storage=f"sqlite:///{tmp_path / 'ledger.db'}")
    first, second = study.trials
    assert (first.state, first.values) == (optuna.trial.TrialState.COMPLETE, _values(coordinator.records()[0]))
    assert second.state is optuna.trial.TrialState.FAIL  # it has no report


def _values(record: TrialRecord) -> list[float]:
    return [record.reports[0].metrics[name] for name in ("val/accuracy", "gap/loss")]
