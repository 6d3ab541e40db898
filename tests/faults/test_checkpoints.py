"""Checkpoints changed between two commands: damaged, removed, or replaced by another sweep's."""

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from orchestrator.core.errors import SuspendedError
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.stores import read_spec
from orchestrator.sweep import SweepOptions, SweepResult, run_sweep
from tests.cluster.fake_sweep import Diary
from tests.conftest import copied
from tests.fakes.tiny_sweep import tiny_sweep

# Without an overfitting exit: the losses of the tiny model rise or fall by the rounding of the CPU.
OVERRIDES = ("early_stopping.reports=4", "early_stopping.patience=null")
POINTS = (16, 32, 48, 64)
STATES = ("slot_state.safetensors", "optimizer.pt")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with a sweep stopped after three reports of each trial."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        place(patch, folder)
        copied(empty_store, folder / "mlflow")
        (folder / "file.txt").write_text(str(tiny_sweep(folder)))
        outcome = run(folder, stop_after=6)[0]
        assert [len(record.reports) for record in outcome.records] == [3, 3]
        yield folder


@pytest.fixture
def folder(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stopped sweep."""
    place(monkeypatch, copy_of(stopped, tmp_path / "copy"))
    return tmp_path / "copy"


def copy_of(stopped: Path, folder: Path) -> Path:
    """Copy the sweep and its runs, but not its file, rows and model, so that it remains the same sweep."""
    for name in ("home", "mlflow"):
        shutil.copytree(stopped / name, folder / name)
    (folder / "file.txt").write_text(str(stopped / "tiny.yaml"))
    return folder


def place(patch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("LORATORY_DB", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        patch.delenv(name, raising=False)
    patch.setenv("LORATORY_HOME", str(folder / "home"))
    patch.setenv("LORATORY_MLFLOW_DIR", str(folder / "mlflow"))


def run(folder: Path, stop_after: int | None = None) -> tuple[SweepResult, list[str]]:
    """Run the sweep inline; return its result and all messages."""
    messages: list[str] = []
    stop = threading.Event()
    observers = (Diary(stop=stop, stop_after=stop_after),)
    spec = read_spec(Path((folder / "file.txt").read_text()), OVERRIDES)
    return run_sweep(spec, SweepOptions(inline=True), observers, stop, messages.append), messages


def checkpoint(folder: Path, trial: int, samples: int) -> Path:
    return folder / "home" / "sweeps" / "tiny-1" / "trials" / f"{trial:04d}" / f"checkpoint-{samples}"


def state_of(place: Path) -> Path:
    return next(place / name for name in STATES if (place / name).exists())


def flip(file: Path) -> None:
    """Change some bytes in the middle of a file, but neither its size nor its dates."""
    content = bytearray(file.read_bytes())
    at = len(content) // 2
    content[at : at + 8] = bytes(byte ^ 0xFF for byte in content[at : at + 8])
    dates = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(dates.st_atime_ns, dates.st_mtime_ns))


def scores(records: Sequence[TrialRecord]) -> list[list[float]]:
    return [[report.metrics["val/loss"] for report in record.reports] for record in records]


@pytest.fixture(scope="module")
def expected(stopped: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[float]]:
    """What the trials report if nothing happens to their checkpoints."""
    folder = copy_of(stopped, tmp_path_factory.mktemp("expected"))
    with pytest.MonkeyPatch.context() as patch:
        place(patch, folder)
        outcome, messages = run(folder)
    assert not [line for line in messages if "start" in line or "resumes" in line]
    return scores(outcome.records)


def check(outcome: SweepResult, expected: list[list[float]]) -> None:
    assert [record.state for record in outcome.records] == [TrialState.COMPLETE] * 2
    assert scores(outcome.records) == expected


@pytest.mark.parametrize("harm", [flip, lambda file: os.truncate(file, 100), Path.unlink])
def test_damaged_checkpoint_falls_back_to_the_previous(folder: Path, expected: list[list[float]], harm: object) -> None:
    assert callable(harm)
    harm(state_of(checkpoint(folder, 1, 48)))
    outcome, messages = run(folder)
    check(outcome, expected)
    assert "trial 1 resumes from its checkpoint at 32 samples, not from 48" in messages
    assert not [line for line in messages if line.startswith("trial 0")]


def test_trial_without_intact_checkpoint_starts_again(folder: Path, expected: list[list[float]]) -> None:
    for samples in (32, 48):
        flip(checkpoint(folder, 0, samples) / "adapter" / "adapter_model.safetensors")
    outcome, messages = run(folder)
    check(outcome, expected)
    damaged = "is damaged and is not used: the contents of adapter/adapter_model.safetensors have changed"
    assert f"trial 0: the checkpoint at 48 samples {damaged}" in messages
    assert "trial 0 starts again: it has no usable checkpoint" in messages


def test_removed_checkpoints_start_trials_again_without_crash(folder: Path, expected: list[list[float]]) -> None:
    shutil.rmtree(folder / "home" / "sweeps" / "tiny-1" / "trials")
    outcome, messages = run(folder)
    check(outcome, expected)
    assert [line for line in messages if "starts again" in line] == [
        f"trial {number} starts again: it has no usable checkpoint" for number in range(2)
    ]


def test_checkpoints_of_another_ledger_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_DB", f"sqlite:///{folder / 'other.db'}")
    before = sorted(path for path in (folder / "home" / "sweeps" / "tiny-1").rglob("*"))
    outcome, messages = run(folder)
    assert outcome.sweep.reference == "tiny#2"
    assert [record.started_at > outcome.sweep.created_at for record in outcome.records] == [True, True]
    assert all(record.reports[0].started_at > outcome.sweep.created_at for record in outcome.records)
    assert any("holds files of a sweep that this ledger does not know" in line for line in messages)
    assert sorted(path for path in (folder / "home" / "sweeps" / "tiny-1").rglob("*")) == before


def test_checkpoints_of_another_sweep_are_ignored(folder: Path, expected: list[list[float]]) -> None:
    with Ledger.open().database.write() as connection:
        connection.exec_driver_sql("UPDATE loratory_sweeps SET created_at = created_at + 1")
    outcome, messages = run(folder)
    check(outcome, expected)
    [first] = [line for line in messages if "another sweep" in line and line.startswith("trial 0")]
    assert first.endswith("belong to another sweep or configuration; not used")


def test_full_disk_suspends_the_sweep(
    folder: Path, expected: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SuspendedError, match="tiny-1 cannot be written: No space left on device"):
            run(folder)
    ledger = Ledger.open()
    sweep = ledger.sweeps.find("tiny")
    assert sweep.status is SweepStatus.INTERRUPTED
    assert "No space left on device" in (sweep.facts.end_reason or "")
    assert {record.state for record in ledger.trials.all(sweep.id)} == {TrialState.RUNNING}
    check(run(folder)[0], expected)


def test_full_ledger_suspends_the_sweep(folder: Path, expected: list[list[float]]) -> None:
    def full(connection: sqlite3.Connection, _record: object) -> None:
        if connection.execute("PRAGMA database_list").fetchone()[2].endswith("ledger.db"):  # not MLflow's
            connection.execute("PRAGMA max_page_count = 1")

    event.listen(Engine, "connect", full)
    try:
        with pytest.raises(SuspendedError, match=r"ledger\.db cannot be written: database or disk is full"):
            run(folder)
    finally:
        event.remove(Engine, "connect", full)
    check(run(folder)[0], expected)
