"""The dispatcher's slots and moves, over a real coordinator and without an executor."""

import threading
from pathlib import Path

import pytest

from orchestrator.cluster.dispatcher import MOST_LOST, Dispatcher, SlotAction
from orchestrator.cluster.orders import Advance, Assignment, Crashed, Diverged, Finish, Finished, Reported, Unusable
from orchestrator.core.errors import AssetError
from orchestrator.core.sweeps.policy import StoppingName
from orchestrator.core.trials.trial import Report, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.sweeps import open_sweep
from tests.cluster.fake_sweep import POINTS, FakeSweep
from tests.fakes.fake_engine import curve


class Drive:
    """One driver with two slots over the sweep in a folder."""

    def __init__(
        self, folder: Path, *, trials: int = 6, rule: StoppingName = StoppingName.ASHA, together: bool = False
    ) -> None:
        sweep = FakeSweep(folder=folder, trials=trials, rule=rule)
        ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        self.coordinator = Coordinator(ledger, open_sweep(ledger, "fake", {}, ""), sweep.search_plan)
        self.stop = threading.Event()
        self.said: list[str] = []
        self.dispatcher = Dispatcher(self.coordinator, 2, self.stop, self.said.append, together=together)

    def next(self) -> Assignment:
        assignment = self.dispatcher.next()
        assert assignment is not None
        return assignment

    def report(self, assignment: Assignment) -> SlotAction:
        assert isinstance(assignment.order, Advance)
        samples = assignment.order.nominal_samples
        report = Report(
            trial=assignment.task.number,
            nominal_samples=samples,
            metrics=curve(assignment.task, samples),
            checkpoint=None,
            started_at=0.0,
            ended_at=1.0,
        )
        return self.dispatcher.take(Reported(report=report))


def test_running_trials_never_exceed_the_slots(tmp_path: Path) -> None:
    drive = Drive(tmp_path)
    assert [drive.next().task.number, drive.next().task.number] == [0, 1]
    assert drive.dispatcher.next() is None


def test_waiting_trial_yields_its_slot(tmp_path: Path) -> None:
    drive = Drive(tmp_path)
    first, second = drive.next(), drive.next()
    assert [drive.report(first), drive.report(second)] == [SlotAction.YIELD, SlotAction.YIELD]
    third = drive.next()
    assert third.task.number == 2
    drive.report(third)
    decisions = {number: drive.coordinator.decision(number) for number in range(3)}
    assert None not in decisions.values()
    # Final measurements come before the continued trial, and both before a new trial.
    assert [type(drive.next().order), type(drive.next().order)] == [Finish, Finish]


def test_last_trials_do_not_wait_forever(tmp_path: Path) -> None:
    drive = Drive(tmp_path, trials=2)
    first, second = drive.next(), drive.next()
    assert drive.report(first) is SlotAction.YIELD
    drive.dispatcher.take(Diverged(number=second.task.number, reason="the loss is nan"))
    assert drive.next() == Assignment(task=first.task, order=Advance(nominal_samples=POINTS[1]))


def test_crash_in_final_measurement_keeps_the_outcome(tmp_path: Path) -> None:
    drive = Drive(tmp_path, trials=1, rule=StoppingName.NONE)
    assignment = drive.next()
    for point in POINTS:
        action = drive.report(Assignment(task=assignment.task, order=Advance(nominal_samples=point)))
    assert action is SlotAction.YIELD
    for _ in range(2):
        assert isinstance(drive.next().order, Finish)
        drive.dispatcher.crashed(0, "no space left")
    assert drive.said == ["trial 0 resumes from its newest report: no space left"]  # after the second crash it fails
    [record] = drive.coordinator.records()
    assert record.state is TrialState.COMPLETE
    assert "no space left" in (record.reason or "")
    assert drive.dispatcher.done


def test_lost_slots_resume_at_the_same_points(tmp_path: Path) -> None:
    drive = Drive(tmp_path, rule=StoppingName.NONE)
    lost = [drive.next(), drive.next()]
    assert drive.dispatcher.lost_slots("Tune failed")
    assert [drive.next(), drive.next()] == lost
    assert not any(record.ended for record in drive.coordinator.records())


def test_next_driver_resumes_suspended_trials(tmp_path: Path) -> None:
    drive = Drive(tmp_path)
    waiting, running = drive.next(), drive.next()
    drive.report(waiting)
    later = Drive(tmp_path)
    assert later.next() == running  # the waiting trial has no order yet and takes no slot
    assert later.next().task.number == 2
    assert not later.dispatcher.done


def test_stop_ends_new_assignments(tmp_path: Path) -> None:
    drive = Drive(tmp_path)
    drive.stop.set()
    assert drive.dispatcher.next() is None
    assert drive.dispatcher.halted


def test_unusable_engine_fails_no_trial(tmp_path: Path) -> None:
    drive = Drive(tmp_path)
    drive.next()
    with pytest.raises(AssetError):
        drive.dispatcher.take(Unusable(error=AssetError("no base model")))
    assert [record.state for record in drive.coordinator.records()] == [TrialState.RUNNING]


def test_final_metrics_reach_the_record(tmp_path: Path) -> None:
    drive = Drive(tmp_path, trials=1, rule=StoppingName.NONE)
    task = drive.next().task
    for point in POINTS:
        drive.report(Assignment(task=task, order=Advance(nominal_samples=point)))
    assert drive.next().order == Finish(best_samples=POINTS[-1])
    assert drive.dispatcher.take(Finished(number=0, metrics={"shift/tweets/accuracy": 0.5})) is SlotAction.END
    assert drive.coordinator.records()[0].final == {"shift/tweets/accuracy": 0.5}


def test_suspects_run_one_at_a_time(tmp_path: Path) -> None:
    drive = Drive(tmp_path, rule=StoppingName.NONE, together=True)
    innocent, guilty = drive.next(), drive.next()
    for each in (innocent, guilty):
        assert drive.dispatcher.take(Crashed(number=each.task.number, reason="out of memory")) is SlotAction.YIELD
    assert drive.next() == innocent
    assert drive.dispatcher.next() is None
    assert drive.report(innocent) is SlotAction.CONTINUE
    assert drive.next() == guilty  # beside the cleared trial, but no third one
    assert drive.dispatcher.next() is None
    assert drive.dispatcher.take(Crashed(number=guilty.task.number, reason="out of memory")) is SlotAction.END
    states = [record.state for record in drive.coordinator.records()]
    assert states == [TrialState.RUNNING, TrialState.FAIL]
    assert drive.next().task.number == 2


def test_cleared_trial_survives_a_later_crash(tmp_path: Path) -> None:
    drive = Drive(tmp_path, rule=StoppingName.NONE, together=True)
    first = drive.next()
    for point in POINTS[:3]:
        assert drive.dispatcher.take(Crashed(number=0, reason="killed")) is SlotAction.YIELD
        again = drive.next()
        assert again == Assignment(task=first.task, order=Advance(nominal_samples=point))
        drive.report(again)
    assert drive.coordinator.records()[0].state is TrialState.RUNNING


def test_second_crash_clears_the_other_suspects(tmp_path: Path) -> None:
    drive = Drive(tmp_path, rule=StoppingName.NONE, together=True)
    guilty, innocent = drive.next(), drive.next()
    for each in (guilty, innocent):
        drive.dispatcher.take(Crashed(number=each.task.number, reason="out of memory"))
    assert drive.next() == guilty
    assert drive.dispatcher.take(Crashed(number=guilty.task.number, reason="out of memory")) is SlotAction.END
    assert drive.next() == innocent
    assert drive.next().task.number == 2, "nobody is a suspect any more"
    assert drive.dispatcher.take(Crashed(number=innocent.task.number, reason="its own")) is SlotAction.YIELD


def test_dead_process_halves_the_parallel_trials(tmp_path: Path) -> None:
    drive = Drive(tmp_path, rule=StoppingName.NONE, together=True)
    for assignment in (drive.next(), drive.next()):
        drive.dispatcher.take(Crashed(number=assignment.task.number, reason="killed", died=True))
    assert drive.dispatcher.parallel == 1  # halved once for both crashes
    assert drive.said == ["trials resume from their newest reports, 1 at once: killed"]
    for _ in range(2):  # each reports alone and is cleared
        assert drive.report(drive.next()) is SlotAction.CONTINUE
        drive.dispatcher.lost_slots("the driver lets go of it")
    assert drive.dispatcher.next() is not None
    assert drive.dispatcher.next() is None


def test_end_of_pack_and_proxy_counts_once(tmp_path: Path) -> None:
    drive = Drive(tmp_path, rule=StoppingName.NONE, together=True)
    for assignment in (drive.next(), drive.next()):
        drive.dispatcher.take(Crashed(number=assignment.task.number, reason="killed", died=True))
    suspect = drive.next()
    drive.dispatcher.lost(suspect.task.number, "its process died")
    assert drive.next() == suspect
    assert drive.report(suspect) is SlotAction.CONTINUE
    assert not any(record.ended for record in drive.coordinator.records())


def test_repeated_loss_of_proxy_fails_its_trial(tmp_path: Path) -> None:
    drive = Drive(tmp_path, trials=1, rule=StoppingName.NONE, together=True)
    losses = 0
    while not drive.coordinator.records() or not drive.coordinator.records()[0].ended:
        drive.dispatcher.lost(drive.next().task.number, "its process died")
        losses += 1
    assert losses == MOST_LOST + 2


def test_proxy_lost_beside_its_own_outcome_changes_nothing(tmp_path: Path) -> None:
    drive = Drive(tmp_path, rule=StoppingName.NONE, together=True)
    first = drive.next()
    drive.dispatcher.take(Crashed(number=first.task.number, reason="killed", died=True))
    drive.dispatcher.lost(first.task.number, "its process died")
    assert drive.next() == first


def test_engine_error_keeps_the_parallel_trials(tmp_path: Path) -> None:
    drive = Drive(tmp_path, rule=StoppingName.NONE, together=True)
    for assignment in (drive.next(), drive.next()):
        drive.dispatcher.take(Crashed(number=assignment.task.number, reason="a bug"))
    assert drive.dispatcher.parallel == 2
