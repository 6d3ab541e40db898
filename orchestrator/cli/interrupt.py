"""Ctrl-C handling: the first stops the sweep cleanly, the second ends the process at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signal(
    stop: threading.Event,
    say: Callable[[str], None],
    before_exit: Callable[[], None] = lambda: None,
    resume_hint: str = "the same command",
) -> Iterator[None]:
    """Set ``stop`` on the first Ctrl-C or SIGTERM; end the process on the second. Committed reports are never lost.

    Outside the main thread (in a notebook, for example) it does nothing, because Python delivers signals there only.

    Args:
        stop: set on the first signal.
        say: shows a message.
        before_exit: called before the process ends on the second signal.
        resume_hint: names the command to resume with.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  (the signature of a signal handler)
        if stop.is_set():
            before_exit()
            os._exit(128 + signum)
        stop.set()
        # In a thread, because the interrupted code may hold the screen's lock.
        threading.Thread(
            target=say,
            args=(f"stopping; {resume_hint} resumes the sweep (Ctrl-C again exits at once)",),
            daemon=True,
        ).start()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
