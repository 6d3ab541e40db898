"""One driver per sweep: a second one is refused, or replaces a dead or silent one."""

import inspect
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import psutil
import pytest
from sqlalchemy import insert, update

from orchestrator.core.errors import LedgerError, SweepLockedError
from orchestrator.ledger.driver_store import STALE_S, Hold
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.tables import drivers
from orchestrator.search.sweeps import delete_sweep, open_sweep
from tests.search.worlds import open_ledger

if TYPE_CHECKING:
    from _typeshed import TraceFunction

HOLDER = """
import sys, time
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.sweeps import open_sweep
ledger = Ledger.open(sys.argv[1])
with ledger.drivers.hold(open_sweep(ledger, "s", {}, "").id):
    print("driving", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process driving the sweep."""
    url = open_ledger(tmp_path).database.url
    with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "driving\n"
        yield process
        process.kill()


def test_second_driver_is_refused(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    ledger = open_ledger(tmp_path)
    sweep = ledger.sweeps.find("s")
    first = ledger.drivers.live(sweep.id)
    assert first is not None
    assert first.pid == holder.pid
    with pytest.raises(SweepLockedError, match=rf"already being run by process {holder.pid} on .+, since 20\d\d-"):
        ledger.drivers.hold(sweep.id).__enter__()
    with pytest.raises(SweepLockedError, match=f"being run by process {holder.pid}"):
        delete_sweep(ledger, sweep)


def test_killed_driver_is_replaced_at_once(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    ledger = open_ledger(tmp_path)
    sweep = ledger.sweeps.find("s")
    assert ledger.drivers.live(sweep.id) is None
    with ledger.drivers.hold(sweep.id):
        driver = ledger.drivers.live(sweep.id)
        assert driver is not None
        assert driver.pid != holder.pid
    assert ledger.drivers.live(sweep.id) is None


def test_unreaped_driver_counts_as_dead(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The test, its parent, has not read its exit code: it is a zombie, as often in containers."""
    holder.send_signal(signal.SIGKILL)
    while psutil.Process(holder.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    ledger = open_ledger(tmp_path)
    sweep = ledger.sweeps.find("s")
    assert ledger.drivers.live(sweep.id) is None
    with ledger.drivers.hold(sweep.id):
        pass


def test_reused_pid_does_not_hold_the_sweep(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    ledger = open_ledger(tmp_path)
    sweep = ledger.sweeps.find("s")
    with ledger.database.write() as connection:
        connection.execute(update(drivers).values(process_started_at=drivers.c.process_started_at - 1000))
    assert ledger.drivers.live(sweep.id) is None
    with ledger.drivers.hold(sweep.id):
        pass


def other_host(ledger: Ledger, sweep_id: int, silent_s: float) -> None:
    """Store a driver of another machine."""
    beat = time.time() - silent_s
    row = {"token": "token", "host": "elsewhere", "pid": 1, "process_started_at": 0.0}
    with ledger.database.write() as connection:
        connection.execute(insert(drivers).values(sweep_id=sweep_id, since=beat - 100, heartbeat_at=beat, **row))


@pytest.mark.parametrize(("silent_s", "taken"), [(STALE_S - 5, False), (STALE_S + 5, True)])
def test_remote_driver_holds_while_its_heart_beats(tmp_path: Path, silent_s: float, taken: bool) -> None:
    ledger = open_ledger(tmp_path)
    sweep = open_sweep(ledger, "s", {}, "")
    other_host(ledger, sweep.id, silent_s)
    if taken:
        with ledger.drivers.hold(sweep.id):
            pass
    else:
        with pytest.raises(SweepLockedError, match="process 1 on elsewhere"):
            ledger.drivers.hold(sweep.id).__enter__()


def test_silent_driver_loses_its_write_access(tmp_path: Path) -> None:
    first = Ledger.open(open_ledger(tmp_path).database.url, heartbeat_s=60)
    second = open_ledger(tmp_path)
    sweep = open_sweep(first, "s", {}, "")
    with first.drivers.hold(sweep.id):
        with first.database.write() as connection:
            connection.execute(update(drivers).values(heartbeat_at=drivers.c.heartbeat_at - STALE_S - 1))
        with second.drivers.hold(sweep.id):
            with pytest.raises(LedgerError, match="lost its sweep to process"):
                first.sweeps.update(sweep.id, facts={"startup_s": 1.0})
            second.sweeps.update(sweep.id, facts={"startup_s": 2.0})
    assert first.sweeps.get(sweep.id).facts.startup_s == 2.0


def test_heartbeat_adds_up_the_time(tmp_path: Path) -> None:
    ledger = Ledger.open(open_ledger(tmp_path).database.url, heartbeat_s=0.05)
    sweep = open_sweep(ledger, "s", {}, "")
    before = time.monotonic()
    for _ in range(2):
        with ledger.drivers.hold(sweep.id) as hold:
            hold.busy = True
            first = ledger.drivers.live(sweep.id)
            time.sleep(0.2)
            later = ledger.drivers.live(sweep.id)
        assert first is not None
        assert later is not None
        assert later.heartbeat_at > first.heartbeat_at
    assert 0.4 <= ledger.sweeps.get(sweep.id).elapsed_s <= time.monotonic() - before


def test_idle_time_is_left_out_at_every_moment() -> None:
    """The heartbeat's thread may read the time between any two lines of the driver's thread."""
    hold, seen, idle = Hold(busy=True), list[float](), inspect.unwrap(Hold.idle).__code__

    def read(frame: FrameType, _event: str, _value: object) -> "TraceFunction":
        if frame.f_code is idle:
            seen.append(hold.spent_s)
        return read

    before = sys.gettrace()
    sys.settrace(read)
    try:
        for _ in range(2):
            with hold.idle():
                time.sleep(0.05)
    finally:
        sys.settrace(before)
    assert len(seen) > 8
    assert seen == sorted(seen)


def beat_once(ledger: Ledger, sweep_id: int) -> None:
    """Wait for two heartbeats: the second one began after this call."""
    for _ in range(2):
        before = ledger.drivers.live(sweep_id)
        deadline = time.monotonic() + 20
        while ledger.drivers.live(sweep_id) == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_idle_driver_adds_no_time(tmp_path: Path) -> None:
    ledger = Ledger.open(open_ledger(tmp_path).database.url, heartbeat_s=0.05)
    sweep = open_sweep(ledger, "s", {}, "")
    with ledger.drivers.hold(sweep.id):
        beat_once(ledger, sweep.id)
    assert ledger.sweeps.get(sweep.id).elapsed_s == 0


def test_time_before_work_counts_once_busy(tmp_path: Path) -> None:
    ledger = Ledger.open(open_ledger(tmp_path).database.url, heartbeat_s=0.05)
    sweep = open_sweep(ledger, "s", {}, "")
    with ledger.drivers.hold(sweep.id) as hold:
        time.sleep(0.3)
        assert ledger.sweeps.get(sweep.id).elapsed_s == 0
        hold.busy = True
        beat_once(ledger, sweep.id)
        counted = ledger.sweeps.get(sweep.id).elapsed_s  # the stored time if this driver is killed now
    assert counted >= 0.3
    assert ledger.sweeps.get(sweep.id).elapsed_s >= counted


def test_lock_is_released_after_an_error(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    sweep = open_sweep(ledger, "s", {}, "")
    with pytest.raises(KeyError), ledger.drivers.hold(sweep.id):
        raise KeyError
    with ledger.drivers.hold(sweep.id):
        pass
