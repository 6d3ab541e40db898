"""The reconciler's thread: it never delays the sweep, retries, and reports whether all is written."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator.tracking.runs.reconciler import Reconciler
from tests.tracking.records import report, trial

ROOT = Path(__file__).parents[2]


class Recorder:
    """A fake synchroniser: it counts passes, and fails while ``absent``."""

    def __init__(self, *, absent: bool = False, seconds: float = 0.0) -> None:
        self.absent = absent
        self.seconds = seconds
        self.passes = 0
        self.thread = ""
        self.refused: tuple[str, ...] = ()

    def run(self) -> tuple[str, ...]:
        self.passes += 1
        self.thread = threading.current_thread().name
        time.sleep(self.seconds)
        if self.absent:
            raise ConnectionError("nobody answers")
        return self.refused


def test_flush_waits_for_a_later_pass() -> None:
    recorder = Recorder(seconds=0.05)
    reconciler = Reconciler(recorder, lambda _: None, gap_s=60)
    reconciler.start()
    assert reconciler.flush(5)
    before = recorder.passes
    assert reconciler.flush(5)
    assert recorder.passes == before + 1
    assert recorder.thread == "reconciler"
    assert reconciler.close(5)


def test_events_in_a_row_are_written_together() -> None:
    recorder = Recorder()
    reconciler = Reconciler(recorder, lambda _: None, gap_s=0.3)
    reconciler.start()
    began = time.monotonic()
    for _ in range(50):
        reconciler.trial_started(trial(0, ()))
        reconciler.reported(trial(0, (0.5,)), report(0, 1, 0.5))
        reconciler.trial_ended(trial(0, (0.5,)))
        time.sleep(0.01)
    took = time.monotonic() - began
    assert recorder.passes <= took / 0.3 + 2
    reconciler.close(5)


def test_absent_server_is_reported_once_and_retried() -> None:
    recorder, warnings = Recorder(absent=True), list[str]()
    reconciler = Reconciler(recorder, warnings.append, gap_s=0, longest_wait_s=0.05)
    reconciler.start()
    for _ in range(1000):
        reconciler.wake()  # a call that waited for the server would run into the test's time limit
    assert not reconciler.flush(0.5)
    assert recorder.passes > 2
    assert warnings == ["tracking is behind; the sweep continues: ConnectionError: nobody answers"]
    recorder.absent = False
    assert reconciler.flush(5)
    assert reconciler.close(5)


def test_flush_hurries_a_waiting_retry() -> None:
    recorder = Recorder(absent=True)
    reconciler = Reconciler(recorder, lambda _: None, gap_s=0, longest_wait_s=3600)
    reconciler.start()
    assert not reconciler.flush(0.5)
    recorder.absent = False
    assert reconciler.flush(1.5)
    reconciler.close(1)


@pytest.mark.parametrize("absent", [False, True])
def test_close_ends_the_thread(absent: bool) -> None:
    recorder = Recorder(absent=absent)
    reconciler = Reconciler(recorder, lambda _: None, gap_s=3600, longest_wait_s=3600)
    reconciler.start()
    assert reconciler.close(0.3) is not absent
    passes = recorder.passes
    assert "reconciler" not in {thread.name for thread in threading.enumerate()}
    reconciler.wake()
    assert recorder.passes == passes


def test_refusal_is_reported_once_without_waiting() -> None:
    recorder, warnings = Recorder(), list[str]()
    recorder.refused = ("trial-000: no such run", "trial-001: no such run")
    reconciler = Reconciler(recorder, warnings.append, gap_s=0, longest_wait_s=3600)
    reconciler.start()
    assert not reconciler.flush(600)  # a wait would run into the test's time limit
    assert not reconciler.close(600)
    assert warnings == ["tracking: MLflow refuses trial-000: no such run; MLflow will lack it; the sweep continues"]


def test_sqlalchemy_orm_is_whole_before_the_thread() -> None:
    script = (
        "import sys, threading\n"
        "from orchestrator.tracking.runs.reconciler import Reconciler\n"
        "assert 'sqlalchemy.orm' not in sys.modules\n"
        "class Pass:\n"
        "    def run(self):\n"
        "        print(hasattr(sys.modules.get('sqlalchemy.orm'), 'Session'), flush=True)\n"
        "        return ()\n"
        "reconciler = Reconciler(Pass(), print)\n"
        "reconciler.start()\n"
        "assert reconciler.close(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()) == {"True"}
