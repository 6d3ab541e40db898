"""Ctrl-C: once to stop cleanly, twice to leave at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(
    stop: threading.Event,
    say: Callable[[str], None],
    leave: Callable[[], None] = lambda: None,
    again: str = "the same command",
) -> Iterator[None]:
    """Set ``stop`` at the first Ctrl-C or SIGTERM, and end the process at the second, after a call of ``leave``.

    ``again`` says what goes on from there. Nothing is lost by the second either: what was committed is in the ledger.
    Signals reach the main thread alone, so in another one (a notebook's) this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if stop.is_set():
            leave()
            os._exit(128 + signum)
        stop.set()
        # A thread of its own: the handler may have interrupted the very code that holds the screen's lock.
        threading.Thread(
            target=say,
            args=(f"stopping; {again} goes on from here (Ctrl-C again leaves at once)",),
            daemon=True,
        ).start()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
