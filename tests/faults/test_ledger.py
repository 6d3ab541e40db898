"""Ledgers: read-only, damaged, incomplete, or created by several processes at once."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from orchestrator.core.errors import LedgerError, SuspendedError
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.study import SweepStudy
from orchestrator.search.sweeps import open_sweep
from tests.cli.conftest import Invoke
from tests.faults.places import read_only
from tests.search.worlds import Killed, coordinator_of, open_ledger, plan_of

OPENER = """
import sys, time
from pathlib import Path
from orchestrator.search.coordinator import Coordinator
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.sweeps import open_sweep
from tests.search.worlds import plan_of
Path(sys.argv[2] + ".ready").touch()
while not Path(sys.argv[1]).exists():
    time.sleep(0.001)
ledger = Ledger.open()
sweep = open_sweep(ledger, sys.argv[3], {}, "")
with ledger.drivers.hold(sweep.id):
    Coordinator(ledger, sweep, plan_of(trials=1)).next_task()
"""


def test_four_processes_make_one_ledger(tmp_path: Path, home: Path) -> None:
    names = [f"s{number}" for number in range(4)]
    go = tmp_path / "go"
    command = [sys.executable, "-c", OPENER, str(go)]
    processes = [
        subprocess.Popen([*command, str(tmp_path / name), name], stderr=subprocess.PIPE, text=True) for name in names
    ]
    while not all((tmp_path / f"{name}.ready").exists() for name in names):
        assert all(process.poll() is None for process in processes)
    go.touch()
    for process in processes:
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors
    assert sorted(sweep.name for sweep in Ledger.open().sweeps.all()) == names


def test_read_only_home_is_still_read(finished_sweep: str, home: Path, invoke: Invoke) -> None:
    name = f"{finished_sweep}#1"
    with read_only(home):
        assert name in invoke("status").output
        assert name in invoke("status", name).output
        assert "report not written to" in invoke("report", name).output
        ledger = Ledger.open()
        with pytest.raises(LedgerError, match=r"cannot be written: .*set LORATORY_HOME to a writable folder"):
            open_sweep(ledger, "new", {}, "")
        doctor = invoke("doctor")
        assert doctor.exit_code == 1
        assert "set LORATORY_HOME" in doctor.output.replace("\n", " ")


def test_uncreatable_home_gives_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "closed" / "home"))
    with (
        read_only(tmp_path / "closed"),
        pytest.raises(LedgerError, match=r"home cannot be created: .*set LORATORY_HOME"),
    ):
        Ledger.open()


def test_partial_write_is_seen_in_read_only_home(home: Path, finished_sweep: str) -> None:
    """Rows in SQLite's log beside the file, left by a killed driver, are read too."""
    ledger = Ledger.open()
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE loratory_sweeps SET status = 'interrupted'")
    assert (home / "ledger.db-wal").stat().st_size > 0
    with read_only(home):
        assert {sweep.status for sweep in Ledger.open().sweeps.all()} == {"interrupted"}


def words(file: Path) -> None:
    file.write_text("no database at all " * 100)


def half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def noise(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for at in range(100, len(content), 97):
        content[at] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [words, half, noise])
def test_damaged_ledger_gives_one_sentence(
    finished_sweep: str, home: Path, invoke: Invoke, harm: Callable[[Path], None]
) -> None:
    harm(home / "ledger.db")
    sentence = r"the ledger .*ledger\.db is damaged and cannot be opened: .*move it away"
    for arguments in (("status",), ("report", "sentiment")):
        with pytest.raises(LedgerError, match=sentence):
            invoke(*arguments)
    doctor = invoke("doctor")
    assert doctor.exit_code == 1
    assert "is damaged" in doctor.output


def test_ledger_that_lost_a_table_is_damaged(tmp_path: Path) -> None:
    with open_ledger(tmp_path).database.write() as connection:
        connection.exec_driver_sql("DROP TABLE loratory_verdicts")
    with pytest.raises(LedgerError, match="the table loratory_verdicts is missing"):
        open_ledger(tmp_path)


def test_empty_ledger_beside_sweeps_is_damaged(home: Path, finished_sweep: str) -> None:
    (home / "sweeps" / "sentiment-1" / "trials").mkdir(parents=True)
    for file in home.glob("ledger.db*"):
        file.unlink()
    (home / "ledger.db").touch()
    with pytest.raises(LedgerError, match="it is empty, but its folder holds sweeps"):
        Ledger.open()


def test_incomplete_ledger_is_completed(tmp_path: Path) -> None:
    """A process may be killed before any commit of the tables."""
    made, commits = False, 0
    while not made:
        folder = tmp_path / str(commits)
        folder.mkdir()
        try:
            with killed_at_commit(commits):
                coordinator_of(folder, plan_of(trials=1))
            made = True
        except Killed:
            assert coordinator_of(folder, plan_of(trials=1)).next_task() is not None
        commits += 2
    assert commits > 4


class killed_at_commit:  # noqa: N801  (a context manager)
    """Fails at a commit of rows or tables."""

    def __init__(self, countdown: int) -> None:
        self.left = countdown

    def __enter__(self) -> None:
        event.listen(Engine, "commit", self.count)

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "commit", self.count)

    def count(self, connection: object) -> None:
        if self.left == 0:
            connection.connection.rollback()  # type: ignore[attr-defined]
            raise Killed
        self.left -= 1


def test_ledger_locked_for_long_suspends(tmp_path: Path) -> None:
    ledger = Ledger.open(open_ledger(tmp_path).database.url, wait_s=0.1)
    sweep = open_sweep(ledger, "s", {}, "")
    study = SweepStudy(ledger.database, sweep.reference, plan_of(trials=1))
    with open_ledger(tmp_path).database.write():
        with pytest.raises(SuspendedError, match="is still locked by another process"):
            ledger.sweeps.update(sweep.id, facts={})
        with pytest.raises(SuspendedError, match="is still locked by another process"):
            study.ask()


def test_lock_of_a_dead_process_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "ledger.db.lock").touch()
    assert open_ledger(tmp_path).sweeps.all() == ()
