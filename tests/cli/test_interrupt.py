"""Ctrl-C once stops cleanly, twice leaves at once."""

import signal
import subprocess
import sys
import threading

import pytest

from orchestrator.cli.interrupt import stopping

PROGRAM = """
import sys, threading, time
from orchestrator.cli.interrupt import stopping

stop = threading.Event()
with stopping(stop, lambda line: print(line, flush=True)):
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
def test_once_stops_cleanly_and_says_how_to_go_on(number: signal.Signals) -> None:
    child = start(polite=True)
    child.send_signal(number)
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    assert out.splitlines()[0].startswith("stopping; the same command goes on")
    assert out.splitlines()[-1] == "clean"


def test_twice_leaves_a_sweep_that_does_not_stop() -> None:
    child = start(polite=False)
    assert child.stdout is not None
    child.send_signal(signal.SIGINT)
    assert "stopping" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=120)
    assert child.returncode == 130


def test_the_handlers_are_as_before_afterwards_and_other_threads_may_use_it() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping(threading.Event(), print):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    entered = []

    def elsewhere() -> None:
        with stopping(threading.Event(), print):
            entered.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert entered == [before]
