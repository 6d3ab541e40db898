"""A thread paused between values."""

import threading
import time

import pytest

from orchestrator.training.solo.pausable_thread import PausableThread


def test_thread_waits_between_values() -> None:
    reached: list[int] = []

    def body(pushing: PausableThread[int]) -> None:
        for value in range(3):
            reached.append(value)
            pushing.push(value)

    pushing = PausableThread(body, "counter")
    assert reached == []
    assert pushing.next() == 0
    time.sleep(0.05)
    assert reached == [0]
    assert [pushing.next(), pushing.next()] == [1, 2]
    with pytest.raises(RuntimeError, match="counter has ended"):
        pushing.next()
    pushing.close()


def test_error_in_the_thread_reaches_the_caller() -> None:
    def body(pushing: PausableThread[int]) -> None:
        pushing.push(1)
        raise ValueError("from inside")

    pushing = PausableThread(body, "failing")
    assert pushing.next() == 1
    with pytest.raises(ValueError, match="from inside"):
        pushing.next()
    assert not [thread for thread in threading.enumerate() if thread.name == "failing"]
    pushing.close()


def test_closing_runs_the_cleanup_of_the_thread() -> None:
    unwound = threading.Event()

    def body(pushing: PausableThread[int]) -> None:
        try:
            pushing.push(1)
        finally:
            unwound.set()

    pushing = PausableThread(body, "closing")
    pushing.next()
    pushing.close()
    pushing.close()
    assert unwound.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "closing"]


def test_unstarted_thread_can_be_closed() -> None:
    ran: list[int] = []

    def body(pushing: PausableThread[int]) -> None:
        ran.append(1)
        pushing.push(1)

    PausableThread(body, "idle").close()
    assert not ran


def test_busy_thread_ends_at_next_check() -> None:
    started = threading.Event()

    def body(pushing: PausableThread[int]) -> None:
        started.set()
        while True:
            pushing.check()
            time.sleep(0.001)

    pushing = PausableThread(body, "busy")
    messages: list[str] = []

    def ask() -> None:
        with pytest.raises(RuntimeError) as raised:
            pushing.next()
        messages.append(str(raised.value))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    assert started.wait(5)
    pushing.close()
    asking.join(5)
    assert messages == ["busy was closed"]
    assert not [thread for thread in threading.enumerate() if thread.name == "busy"]
