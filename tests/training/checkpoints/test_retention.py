"""The checkpoints kept on disk while a sweep runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import goal
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Action, Decision, Outcome, Report, TrialRecord, TrialState
from orchestrator.training.checkpoints.retention import Retention, adapters_to_keep
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from tests.counting import counted, record_reads
from tests.training.checkpoints.test_trial_folder import write

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


def record(number: int, *scores: float, state: TrialState = TrialState.RUNNING) -> TrialRecord:
    """A trial with one report per score, 100 samples apart."""
    reports = tuple(
        Report(
            trial=number,
            nominal_samples=100 * (index + 1),
            metrics={"val/accuracy": score},
            checkpoint=f"trials/{number:04d}/checkpoint-{100 * (index + 1)}",
            started_at=0.0,
            ended_at=1.0,
        )
        for index, score in enumerate(scores)
    )
    return TrialRecord(number=number, params={}, settings=TrialSettings(), seed=0, state=state, reports=reports)


def ended(number: int, *scores: float, state: TrialState = TrialState.COMPLETE) -> TrialRecord:
    return record(number, *scores, state=state)


def test_kept_adapters_depend_on_outcome_and_rank() -> None:
    stopped = replace(
        record(3, 0.1, 0.2, 0.15),
        decisions={
            300: Decision(
                trial=3,
                nominal_samples=300,
                action=Action.STOP,
                outcome=Outcome(state=TrialState.PRUNED, reason="others are better"),
            )
        },
    )
    assert (
        adapters_to_keep(stopped, ACCURACY, leads=False)
        == adapters_to_keep(stopped, ACCURACY, leads=True)
        == {200, 300}
    )
    running = record(2, 0.5, 0.6, 0.55)
    assert (
        adapters_to_keep(running, ACCURACY, leads=False)
        == adapters_to_keep(running, ACCURACY, leads=True)
        == {200, 300}
    )
    assert adapters_to_keep(ended(0, 0.7, 0.6), ACCURACY, leads=True) == {100}
    assert adapters_to_keep(ended(0, 0.7, 0.6), ACCURACY, leads=False) == set()
    assert adapters_to_keep(record(4), ACCURACY, leads=False) == set()


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return tmp_path


def play(sweep: Path, retention: Retention, number: int, scores: list[float], state: TrialState) -> None:
    """Let a trial report and end, writing its checkpoints as an engine does."""
    for count in range(1, len(scores) + 1):
        write(TrialFolder(sweep, number), 100 * count)
        trial = record(number, *scores[:count])
        retention.reported(trial, trial.reports[-1])
    retention.trial_ended(record(number, *scores, state=state))


def on_disk(sweep: Path) -> dict[str, list[str]]:
    return {
        str(path.parent.relative_to(sweep / "trials")): sorted(file.name for file in path.parent.iterdir())
        for path in sorted(sweep.glob("trials/*/*/report.json"))
    }


def test_running_trial_keeps_best_adapter_and_two_states(sweep: Path) -> None:
    retention = Retention(sweep, ACCURACY, 1)
    folder = TrialFolder(sweep, 0)
    for count, scores in enumerate([(0.5,), (0.5, 0.9), (0.5, 0.9, 0.6), (0.5, 0.9, 0.6, 0.7)], start=1):
        write(folder, 100 * count)
        trial = record(0, *scores)
        retention.reported(trial, trial.reports[-1])
    whole = ["adapter", "optimizer.pt", "report.json", "trainable.safetensors", "trainer_state.json"]
    assert on_disk(sweep) == {
        "0000/checkpoint-100": ["report.json"],
        "0000/checkpoint-200": ["adapter", "report.json"],
        "0000/checkpoint-300": whole,
        "0000/checkpoint-400": whole,
    }


def test_checkpoint_ahead_of_the_ledger_stays(sweep: Path) -> None:
    retention = Retention(sweep, ACCURACY, 1)
    write(TrialFolder(sweep, 0), 100)
    write(TrialFolder(sweep, 0), 200)
    trial = record(0, 0.5)
    retention.reported(trial, trial.reports[-1])
    assert TrialFolder(sweep, 0).newest_whole() == 200


def test_ended_trials_keep_only_leading_adapters(sweep: Path) -> None:
    retention = Retention(sweep, ACCURACY, 2)
    play(sweep, retention, 0, [0.5, 0.4], TrialState.COMPLETE)
    play(sweep, retention, 1, [0.3, 0.6], TrialState.PRUNED)
    assert on_disk(sweep) == {
        "0000/checkpoint-100": ["adapter", "report.json"],
        "0001/checkpoint-200": ["adapter", "report.json"],
    }
    play(sweep, retention, 2, [0.2], TrialState.COMPLETE)
    play(sweep, retention, 3, [0.9], TrialState.FAIL)
    assert [*on_disk(sweep)] == ["0001/checkpoint-200", "0003/checkpoint-100"]


def test_running_trial_displaces_no_trial_of_the_front(sweep: Path) -> None:
    """A running trial dominates the ended one, and may not with a later checkpoint; its end displaces the other."""
    both = goal(ACCURACY, [Metric(name="gap/loss", direction=Direction.MINIMIZE)])
    retention = Retention(sweep, both, 1)

    def with_gaps(trial: TrialRecord, *gaps: float) -> TrialRecord:
        reports = zip(trial.reports, gaps, strict=True)
        return replace(
            trial,
            reports=tuple(replace(each, metrics={**each.metrics, "gap/loss": gap}) for each, gap in reports),
        )

    write(TrialFolder(sweep, 0), 100)
    retention.trial_ended(with_gaps(ended(0, 0.5), 0.2))
    write(TrialFolder(sweep, 1), 100)
    running = with_gaps(record(1, 0.6), 0.1)
    retention.reported(running, running.reports[-1])
    assert on_disk(sweep)["0000/checkpoint-100"] == ["adapter", "report.json"]
    Retention(sweep, both, 1, [with_gaps(ended(0, 0.5), 0.2), running])  # after a restart
    assert on_disk(sweep)["0000/checkpoint-100"] == ["adapter", "report.json"]
    retention.trial_ended(with_gaps(ended(1, 0.6), 0.1))
    assert [*on_disk(sweep)] == ["0001/checkpoint-100"]


def test_resumed_driver_deletes_unneeded_checkpoints(sweep: Path) -> None:
    for number in range(3):
        write(TrialFolder(sweep, number), 100)
    records = [ended(0, 0.5), ended(1, 0.7), record(2, 0.1)]
    retention = Retention(sweep, ACCURACY, 1, records)
    assert [*on_disk(sweep)] == ["0001/checkpoint-100", "0002/checkpoint-100"]
    assert TrialFolder(sweep, 2).newest_whole() == 100
    play(sweep, retention, 2, [0.1, 0.6], TrialState.COMPLETE)
    assert [*on_disk(sweep)] == ["0001/checkpoint-100"]


def test_measured_training_of_curve_keeps_no_adapter(sweep: Path) -> None:
    """The driver was killed after it had stored the test values of trial 1, and before those of trial 2."""
    for number in range(3):
        write(TrialFolder(sweep, number), 100)
    on_curve = [replace(ended(number, 0.4), confirms=0, share=0.5) for number in (1, 2)]
    measured = replace(on_curve[0], final={"test/accuracy": 0.4})
    Retention(sweep, ACCURACY, 1, [ended(0, 0.5), measured, on_curve[1]])
    assert [*on_disk(sweep)] == ["0000/checkpoint-100", "0002/checkpoint-100"]


def test_files_of_unknown_trials_stay(sweep: Path) -> None:
    write(TrialFolder(sweep, 9), 100)
    play(sweep, Retention(sweep, ACCURACY, 1), 0, [0.9], TrialState.COMPLETE)
    assert TrialFolder(sweep, 9).newest_whole() == 100


def test_event_cost_is_independent_of_trial_count(sweep: Path) -> None:
    work = []
    for trials in (50, 200):
        retention = Retention(sweep, ACCURACY, 2, [counted(ended(n, 0.001 * n)) for n in range(trials)])
        newest = counted(record(trials, 0.9))
        with record_reads() as reads:
            retention.trial_started(newest)
            retention.reported(newest, newest.reports[-1])
            retention.trial_ended(counted(ended(trials, 0.9)))
        work.append(reads.count)
    assert work[0] == work[1] > 0
