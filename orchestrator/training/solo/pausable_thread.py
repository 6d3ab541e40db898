"""A thread that pauses whenever it has a value for its caller.

``transformers.Trainer`` owns its loop and calls back, but an engine trains step by step on request. The thread runs
only while its caller waits in ``next``, so the two never run concurrently.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(BaseException):
    """Raised inside the thread to end it, after ``close``."""


class PausableThread(Generic[T]):
    """A computation in a thread, paused between values."""

    def __init__(self, body: Callable[["PausableThread[T]"], None], name: str) -> None:
        """Prepare the thread; it starts at the first ``next``.

        Args:
            body: called in the thread with this object; calls its ``push`` and ``check``.
            name: name of the thread.
        """
        self._body = body
        self._requests: SimpleQueue[None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self._closing = threading.Event()
        # A daemon, so that the process can exit without waiting for a trial.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def next(self) -> T:
        """Run the thread until its next push, and return the pushed value; an error of the thread is raised here."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._requests.put(None)
        value, error = self._answers.get()
        if error is not None:
            self._thread.join()
            raise error
        assert value is not None, "pushed None"
        return value

    def close(self) -> None:
        """End the thread and wait for it; calling it again does nothing."""
        self._closing.set()
        if self._thread.is_alive():
            self._requests.put(None)
            self._thread.join()

    def push(self, value: T) -> None:
        """In the thread: pass ``value`` to the caller, and pause until its next call of ``next``."""
        self._answers.put((value, None))
        self._requests.get()
        self.check()

    def check(self) -> None:
        """In the thread: raise ``Closed`` after ``close``. Long computations call this often."""
        if self._closing.is_set():
            raise Closed

    def _run(self) -> None:
        try:
            self._body(self)
        except Closed:
            self._answers.put((None, RuntimeError(f"{self._thread.name} was closed")))  # in case a caller waits
            return
        except BaseException as error:  # noqa: BLE001  (raised again in the caller)
            self._answers.put((None, error))
            return
        self._answers.put((None, RuntimeError(f"{self._thread.name} has ended and has no more values")))
