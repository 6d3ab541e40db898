"""The first Ctrl-C stops cleanly, the second exits at once."""

import signal
import subprocess
import sys
import threading

import pytest

from orchestrator.cli.interrupt import stop_on_signal

PROGRAM = """
import sys, threading, time
from orchestrator.cli.interrupt import stop_on_signal

stop = threading.Event()
with stop_on_signal(stop, lambda line: print(line, flush=True)):
    print("ready", flush=True)
    while not (stop.is_set() and {polite}):
        time.sleep(0.01)
time.sleep(0.2)
print("clean", flush=True)
"""


def start(*, polite: bool) -> "subprocess.Popen[str]":
    program = [sys.executable, "-c", PROGRAM.format(polite=polite)]
    child = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_stops_cleanly_and_names_command(number: signal.Signals) -> None:
    child = start(polite=True)
    child.send_signal(number)
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    assert out.splitlines()[0].startswith("stopping; the same command resumes")
    assert out.splitlines()[-1] == "clean"


def test_second_signal_exits_at_once() -> None:
    child = start(polite=False)
    assert child.stdout is not None
    child.send_signal(signal.SIGINT)
    assert "stopping" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=120)
    assert child.returncode == 130


def test_handlers_are_restored_and_threads_unaffected() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal(threading.Event(), print):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    entered = []

    def elsewhere() -> None:
        with stop_on_signal(threading.Event(), print):
            entered.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert entered == [before]
