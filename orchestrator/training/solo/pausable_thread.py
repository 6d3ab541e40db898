"""Turn code that pushes values while it runs into one that is asked for the next: it runs in a thread of its own.

``transformers.Trainer`` owns its loop and calls back; engines are asked to advance. The thread runs only while its
caller waits in ``next``, so there is no concurrency to reason about.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(BaseException):
    """Raised inside the thread once nobody asks it any more."""


class PausableThread(Generic[T]):
    """A paused computation in a thread."""

    def __init__(self, body: Callable[["PausableThread[T]"], None], name: str) -> None:
        """Prepare the thread; it starts at the first ``next``.

        Args:
            body: called in the thread with this object, whose ``push`` and ``check`` it calls.
            name: the thread's.
        """
        self._body = body
        self._requests: SimpleQueue[None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self._closing = threading.Event()
        # A daemon: a process that is told to end does not wait for a trial.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def next(self) -> T:
        """Let the thread run until its next push and return what it pushed; what it raises is raised here."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._requests.put(None)
        value, error = self._answers.get()
        if error is not None:
            self._thread.join()
            raise error
        assert value is not None, "a push of nothing"
        return value

    def close(self) -> None:
        """End the thread, wherever it is, and wait until it has ended; calling it again does nothing."""
        self._closing.set()
        if self._thread.is_alive():
            self._requests.put(None)
            self._thread.join()

    def push(self, value: T) -> None:
        """In the thread: hand ``value`` over and pause until the next is asked for."""
        self._answers.put((value, None))
        self._requests.get()
        self.check()

    def check(self) -> None:
        """In the thread: raise ``Closed`` if it should end. Long computations call this often."""
        if self._closing.is_set():
            raise Closed

    def _run(self) -> None:
        try:
            self._body(self)
        except Closed:
            self._answers.put((None, RuntimeError(f"{self._thread.name} was closed")))  # should anyone be waiting
            return
        except BaseException as error:  # noqa: BLE001  (all of it is let through: it is raised again in the caller)
            self._answers.put((None, error))
            return
        self._answers.put((None, RuntimeError(f"{self._thread.name} has ended; there is nothing more to ask it for")))
