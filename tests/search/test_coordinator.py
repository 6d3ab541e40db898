"""The coordinator: tasks, commits, outcomes of trials, and the end of a sweep."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.errors import LedgerError
from orchestrator.core.seeds import derive_seed
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.sweeps.policy import Budget, SamplerName, StoppingName, StoppingPolicy
from orchestrator.core.trials.trial import Action, Decision, Report, TrialRecord, TrialState
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.study import delete_study
from orchestrator.search.sweeps import open_sweep
from tests.search.worlds import (
    ACCURACY,
    GRID,
    POINTS,
    coordinator_of,
    curve,
    essence,
    open_ledger,
    plan_of,
    report_of,
    run_out,
    step,
)

NO_RULE = StoppingPolicy(rule=StoppingName.NONE)


class Diary(SweepObserver):
    """Records every event, and checks its commit to the ledger."""

    def __init__(self, folder: Path) -> None:
        self._ledger = open_ledger(folder)
        self.lines: list[str] = []

    def _stored(self, number: int) -> TrialRecord:
        return self._ledger.trials.get(self._ledger.sweeps.find("sentiment").id, number)

    def prepared(self, plan: EnginePlan) -> None:
        """Record nothing."""

    def trial_started(self, trial: TrialRecord) -> None:
        assert self._stored(trial.number) == trial
        self.lines.append(f"{trial.number} started")

    def reported(self, trial: TrialRecord, report: Report) -> None:
        assert self._stored(trial.number).reports[-1] == report == trial.reports[-1]
        self.lines.append(f"{trial.number} at {report.nominal_samples}")

    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        assert self._stored(trial.number).decisions[decision.nominal_samples] == decision
        self.lines.append(f"{trial.number} {decision.action}")

    def trial_ended(self, trial: TrialRecord) -> None:
        assert self._stored(trial.number) == trial
        self.lines.append(f"{trial.number} {trial.state}")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_sweep_from_beginning_to_end(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    sweep = open_sweep(ledger, "sentiment", {"space": 1}, "")
    plan = plan_of(trials=3, start=({"learning_rate": 1e-5}, {"learning_rate": 1e-3}, {"learning_rate": 1e-4}))
    diary, clock = Diary(tmp_path), Clock()
    coordinator = Coordinator(ledger, sweep, plan, observers=(diary,), clock=clock)
    run_out(coordinator)
    assert diary.lines == [
        *("0 started", "0 at 1000", "1 started", "1 at 1000", "2 started", "2 at 1000"),
        *("0 stop", "1 continue", "2 stop", "0 pruned"),
        *(line for samples in POINTS[1:-1] for line in (f"1 at {samples}", "1 continue")),
        *("1 at 6000", "1 stop", "1 complete", "2 pruned"),
    ]
    assert [record.state for record in coordinator.records()] == [
        TrialState.PRUNED,
        TrialState.COMPLETE,
        TrialState.PRUNED,
    ]
    winner = coordinator.records()[1]
    assert winner.settings.learning_rate == 1e-3
    assert winner.settings.weight_decay == 0.1
    assert winner.settings.alpha == winner.params["alpha"] == 32.0
    assert winner.seed == derive_seed(7, "trial", 1)
    assert winner.final == {"shift/tweets/accuracy": 0.5}
    assert (winner.started_at, winner.ended_at) == (1000.0, 1000.0)
    assert coordinator.exhausted
    assert coordinator.exhausted_reason == "all 3 trials were started"
    assert ledger.trials.all(sweep.id) == coordinator.records()


def test_smaller_budget_keeps_existing_trials(tmp_path: Path) -> None:
    run_out(coordinator_of(tmp_path, plan_of(trials=3)))
    again = coordinator_of(tmp_path, plan_of(trials=2))
    assert again.exhausted_reason == "all 3 trials were started; the budget is 2 now"


def test_first_trials_wait_for_a_cohort(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(trials=3))
    tasks = [coordinator.next_task() for _ in range(3)]
    assert [task.number for task in tasks if task is not None] == [0, 1, 2]
    for number in (0, 1):
        assert coordinator.report(report_of(number, 1000, 0.1 * number)) == ()
        assert coordinator.decision(number) is None
        assert coordinator.next_point(number) is None
        assert not coordinator.needs_finish(number)
    decisions = coordinator.report(report_of(2, 1000, 0.05))
    assert {v.trial: v.action for v in decisions} == {0: Action.STOP, 1: Action.CONTINUE, 2: Action.STOP}
    assert coordinator.next_point(1) == 2000
    assert coordinator.needs_finish(0)
    assert coordinator.decision(1) == next(v for v in decisions if v.trial == 1)


def test_trial_without_peers_is_decided(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(trials=2))
    coordinator.next_task()
    assert coordinator.report(report_of(0, 1000, 0.5)) == ()
    coordinator.next_task()
    coordinator.fail(1, "crashed: out of memory")
    assert [v.action for v in coordinator.flush_waiting()] == [Action.CONTINUE]
    assert coordinator.flush_waiting() == ()
    assert (coordinator.records()[1].state, coordinator.records()[1].reason) == (
        TrialState.FAIL,
        "crashed: out of memory",
    )


def test_repeated_report_changes_nothing(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(trials=1, stopping=NO_RULE))
    coordinator.next_task()
    first = coordinator.report(report_of(0, 1000, 0.5))
    assert coordinator.report(report_of(0, 1000, 0.9)) == first != ()
    assert coordinator.records()[0].score(ACCURACY) == 0.5


@pytest.mark.parametrize("samples", [2000, 1500])
def test_a_report_out_of_turn_is_refused(tmp_path: Path, samples: int) -> None:
    coordinator = coordinator_of(tmp_path, plan_of())
    coordinator.next_task()
    with pytest.raises(LedgerError, match=rf"trial 0 \(running\) reported at {samples} samples; expected: 1000"):
        coordinator.report(report_of(0, samples, 0.5))
    assert coordinator.records()[0].reports == ()


def test_ended_trial_does_not_change(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of())
    coordinator.next_task()
    coordinator.fail(0, "crashed")
    coordinator.fail(0, "again")
    coordinator.finish(0, {"shift/x": 1.0})
    assert (coordinator.records()[0].reason, coordinator.records()[0].final) == ("crashed", {})
    with pytest.raises(LedgerError, match=r"trial 0 \(fail\) reported"):
        coordinator.report(report_of(0, 1000, 0.5))


def test_trial_without_stop_decision_cannot_finish(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of())
    coordinator.next_task()
    with pytest.raises(LedgerError, match="has no decision to stop"):
        coordinator.finish(0, {})


def test_diverged_trial_ends_at_once(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(stopping=NO_RULE))
    coordinator.next_task()
    coordinator.next_task()
    report = report_of(0, 1000, 0.5)
    (decision,) = coordinator.report(replace(report, metrics={**report.metrics, "val/loss": math.inf}))
    assert decision.action is Action.STOP
    assert not coordinator.needs_finish(0)
    assert coordinator.records()[0].reason == "diverged: val/loss is inf"
    assert not coordinator.records()[1].ended


def test_crash_while_measuring_keeps_the_outcome(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(trials=1, stopping=NO_RULE))
    coordinator.next_task()
    for samples in POINTS:
        coordinator.report(report_of(0, samples, 0.5))
    assert coordinator.best_samples(0) == 1000
    coordinator.fail(0, "out of memory")
    assert coordinator.records()[0].state is TrialState.COMPLETE
    assert coordinator.records()[0].reason == (
        "reached its budget of 6000 samples; its final metrics are missing: out of memory"
    )


# Resuming.


def test_next_driver_resumes_most_advanced_trials_first(tmp_path: Path) -> None:
    plan = plan_of(trials=4, stopping=NO_RULE)
    first = coordinator_of(tmp_path, plan)
    for _ in range(3):
        first.next_task()
    for samples in POINTS[:2]:
        first.report(report_of(1, samples, 0.5))
    for samples in POINTS:
        first.report(report_of(2, samples, 0.5))
    first.suspend()
    assert first.next_task() is None
    assert first.exhausted_reason == "the driver is stopping"
    second = coordinator_of(tmp_path, plan)
    assert second.records() == first.records()
    tasks = [second.next_task() for _ in range(5)]
    assert [task.number if task else None for task in tasks] == [2, 1, 0, 3, None]
    assert tasks[1] == first.records()[1].task
    assert (second.needs_finish(2), second.next_point(1), second.next_point(0)) == (True, 3000, 1000)


def test_finished_sweep_resumes_with_larger_budget(tmp_path: Path) -> None:
    run_out(coordinator_of(tmp_path, plan_of(trials=3)))
    done = coordinator_of(tmp_path, plan_of(trials=3))
    assert done.exhausted
    assert done.next_task() is None
    before = essence(done)
    more = coordinator_of(tmp_path, plan_of(trials=6))
    assert not more.exhausted
    run_out(more)
    assert essence(more)[:3] == before
    assert [record.ended for record in more.records()] == [True] * 6


def test_sweeps_in_one_database_are_independent(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_out(coordinator_of(tmp_path, plan_of(trials=4), name))
    one, two = (essence(coordinator_of(tmp_path, plan_of(trials=4), name)) for name in ("one", "two"))
    assert one == two


def test_deleted_study_is_reported(tmp_path: Path) -> None:
    run_out(coordinator_of(tmp_path, plan_of(trials=1)))
    delete_study(open_ledger(tmp_path).database, "sentiment#1")
    with pytest.raises(LedgerError, match="study sentiment#1 lacks trials that the ledger holds"):
        coordinator_of(tmp_path, plan_of(trials=1))


# Budgets.


def test_wall_time_counts_earlier_drivers(tmp_path: Path) -> None:
    ledger, clock = open_ledger(tmp_path), Clock()
    sweep = open_sweep(ledger, "sentiment", {}, "")
    sweep = replace(sweep, elapsed_s=50.0)
    coordinator = Coordinator(ledger, sweep, plan_of(budget=Budget(wall_time_s=60.0)), timer=clock)
    assert coordinator.next_task() is not None
    clock.now += 9.0
    assert coordinator.next_task() is not None
    clock.now += 1.0
    assert coordinator.elapsed_s == 60.0
    assert coordinator.out_of_budget == coordinator.exhausted_reason == "the wall time of 1 min is spent"
    assert coordinator.next_task() is None
    assert not coordinator.records()[0].ended


def test_clock_set_back_does_not_extend_wall_time(tmp_path: Path) -> None:
    ledger, clock, timer = open_ledger(tmp_path), Clock(), Clock()
    sweep = open_sweep(ledger, "sentiment", {}, "")
    coordinator = Coordinator(ledger, sweep, plan_of(), clock=clock, timer=timer)
    clock.now -= 3600.0
    timer.now += 5.0
    assert coordinator.elapsed_s == 5.0


def test_tokens_are_counted_once_per_trial(tmp_path: Path) -> None:
    plan = plan_of(budget=Budget(tokens=200_000), stopping=NO_RULE)
    coordinator = coordinator_of(tmp_path, plan)
    run_out(coordinator)
    assert coordinator.out_of_budget == "the budget of 200,000 training tokens is spent (210,000)"
    assert [len(record.reports) for record in coordinator.records()] == [6, 1]


def test_failing_sweep_stops_and_can_resume(tmp_path: Path) -> None:
    plan = plan_of(trials=20)
    coordinator = coordinator_of(tmp_path, plan)
    for number in range(5):
        assert coordinator.next_task() is not None
        coordinator.fail(number, "crashed: no space left on device" if number else "crashed: killed")
    assert coordinator.out_of_budget == "5 of 5 trials failed; 4 of them: crashed: no space left on device"
    assert coordinator.next_task() is None
    task = coordinator_of(tmp_path, plan).next_task()
    assert task is not None
    assert task.number == 5


def test_few_failures_do_not_stop_a_sweep(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(trials=10, stopping=NO_RULE))

    def measure(record: TrialRecord, samples: int) -> Report:
        report = curve(record, samples)
        lost = {"val/loss": math.nan} if record.number % 2 else {}
        return replace(report, metrics={**report.metrics, **lost})

    run_out(coordinator, measure)
    assert sum(record.state is TrialState.FAIL for record in coordinator.records()) == 5
    assert len(coordinator.records()) == 10


# Points.


@pytest.mark.parametrize("sampler", [SamplerName.TPE, SamplerName.GRID])
def test_finite_space_is_tried_once(tmp_path: Path, sampler: SamplerName) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(space=GRID, trials=40, sampler=sampler))
    run_out(coordinator)
    seen = {tuple(sorted((k, round(v, 9) if isinstance(v, float) else v) for k, v in r.params.items()))
            for r in coordinator.records()}  # fmt: skip
    assert len(seen) == len(coordinator.records()) == 12
    assert coordinator.exhausted_reason == "every point of the space has been tried (12 trials)"


def test_start_points_come_first_and_once(tmp_path: Path) -> None:
    whole: dict[str, ParamValue] = {"learning_rate": 2e-4, "rank": 16, "batch_size": 8, "init": "gaussian"}
    part: dict[str, ParamValue] = {"learning_rate": 3e-4, "init": "default"}
    plan = plan_of(trials=4, start=(whole, part, dict(reversed(whole.items()))))
    coordinator = coordinator_of(tmp_path, plan)
    for number in range(3):
        assert coordinator.next_task() is not None
        coordinator = coordinator_of(tmp_path, plan)
        for _ in range(number + 1):
            coordinator.next_task()
    params = [record.params for record in coordinator.records()]
    assert params[0] == {**whole, "alpha": 32.0}
    assert {name: params[1][name] for name in part} == part
    assert "lora_plus_ratio" in params[1]
    assert params[2]["learning_rate"] not in (2e-4, 3e-4)


def test_start_points_added_later_are_tried_next(tmp_path: Path) -> None:
    run_out(coordinator_of(tmp_path, plan_of(trials=2)))
    added = coordinator_of(tmp_path, plan_of(trials=3, start=({"learning_rate": 5e-4},)))
    run_out(added)
    assert added.records()[2].params["learning_rate"] == 5e-4


def test_waiting_trials_use_no_other_budget(tmp_path: Path) -> None:
    """With one slot and a cohort of three, the third trial starts although two are unfinished."""
    coordinator = coordinator_of(tmp_path, plan_of(trials=9))
    for number in range(3):
        task = coordinator.next_task()
        assert task is not None
        step(coordinator, coordinator.records()[number])
    assert all(coordinator.decision(number) is not None for number in range(3))
