"""``clean`` killed at any step, and its warning about a stopped sweep."""

import shutil
from pathlib import Path

import pytest

from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.ledger.home import free_generation, sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.sweeps import delete_sweep, open_sweep, remove_sweep
from tests.cli.conftest import Invoke
from tests.search.worlds import Killed, curve, killed_before_commit, plan_of, step

PLAN = plan_of(trials=3)


def begun(ledger: Ledger) -> Path:
    """Store a sweep with three trials, one report each, with files; return its folder."""
    sweep = open_sweep(ledger, "s", {}, "")
    coordinator = Coordinator(ledger, sweep, PLAN)
    while coordinator.next_task() is not None:
        pass
    for record in coordinator.records():
        step(coordinator, record, curve)
        (sweep_dir(sweep) / "trials" / f"{record.number:04d}" / "checkpoint-1000").mkdir(parents=True)
    return sweep_dir(sweep)


def check_nothing_is_left(ledger: Ledger, folder: Path) -> None:
    """The next driver gets an empty sweep in an empty folder, with a new study."""
    said: list[str] = []
    sweep = open_sweep(ledger, "s", {}, "", say=said.append)
    assert ledger.trials.all(sweep.id) == ()
    assert not list((sweep_dir(sweep) / "trials").glob("*"))
    coordinator = Coordinator(ledger, sweep, PLAN)
    coordinator.next_task()
    assert [record.number for record in coordinator.records()] == [0]
    assert sweep.reference == "s#1"
    assert not folder.exists()


@pytest.mark.parametrize("countdown", range(4))
def test_removal_killed_at_commit_is_completed_later(home: Path, countdown: int) -> None:
    ledger = Ledger.open()
    folder = begun(ledger)
    try:
        with killed_before_commit(countdown):
            remove_sweep(ledger, ledger.sweeps.find("s"))
    except Killed:
        later = Ledger.open()
        if not later.sweeps.find("s").facts.removing:
            assert len(later.trials.all(later.sweeps.find("s").id)) == 3  # nothing is removed yet
            assert folder.exists()
            remove_sweep(later, later.sweeps.find("s"))
    check_nothing_is_left(Ledger.open(), folder)


def test_removal_killed_among_files_is_completed_later(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.open()
    folder = begun(ledger)

    def killed(path: Path) -> None:
        (path / "trials" / "0000" / "checkpoint-1000").rmdir()
        raise Killed

    found = ledger.sweeps.find("s")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(Killed):
            remove_sweep(ledger, found)
    assert folder.exists()
    check_nothing_is_left(Ledger.open(), folder)


def test_files_without_rows_stay(home: Path) -> None:
    """As left by ``clean`` of an earlier version, killed half-way."""
    ledger = Ledger.open()
    folder = begun(ledger)
    delete_sweep(ledger, ledger.sweeps.find("s"))
    said: list[str] = []
    assert free_generation("s", 1) == 2
    sweep = open_sweep(ledger, "s", {}, "", say=said.append)
    assert sweep.reference == "s#2"
    assert said == [
        f"{folder} holds files of a sweep that this ledger does not know; they are not touched, and this sweep is s#2"
    ]
    assert open_sweep(ledger, "s", {}, "", say=said.append) == sweep
    assert len(said) == 1


def test_removed_checkpoints_of_stopped_sweep_cause_warning(home: Path, invoke: Invoke) -> None:
    ledger = Ledger.open()
    folder = begun(ledger)
    ledger.sweeps.update(ledger.sweeps.find("s").id, status=SweepStatus.INTERRUPTED)
    output = invoke("clean", "s", "--checkpoints", "--yes").output.replace("\n", " ")
    assert "s#1 is not finished. Without checkpoints, these trials restart from their first sample: 0, 1, 2" in output
    assert not (folder / "trials").exists()
