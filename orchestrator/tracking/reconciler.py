"""A thread in the driver that brings MLflow to what the ledger says, again and again, until nothing is missing.

Training never waits for it. A slow or absent server delays only this thread: passes that fail are tried again, ever
less often, and what is missing at the end is written by the next run of the same command.
"""

import importlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential
from typing_extensions import override

from orchestrator.core.observer import SweepObserver
from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import Decision, Report, TrialRecord
from orchestrator.tracking.refusals import reason

logger = logging.getLogger(__name__)


class Pass(Protocol):
    """Something that writes what is missing, or raises; it returns what the store refused for good, in words."""

    def run(self) -> Collection[str]: ...


class Reconciler(SweepObserver):
    """Runs passes when it is woken, at most one every ``gap_s`` seconds; also a sweep's observer, woken by each event.

    Args:
        synchroniser: writes what is missing.
        warn: told once, in one sentence, that the store cannot be written to, and once that it refuses something; what
            follows goes to the log.
        gap_s: seconds between the starts of two passes, so that events are written in batches.
        longest_wait_s: seconds between two tries while the store cannot be reached, at most.
    """

    def __init__(
        self,
        synchroniser: Pass,
        warn: Callable[[str], None],
        *,
        gap_s: float = 3.0,
        longest_wait_s: float = 60.0,
    ) -> None:
        self._synchroniser = synchroniser
        self._warn = warn
        self._gap_s = gap_s
        self._longest_wait_s = longest_wait_s
        self._changed = threading.Condition()
        self._asked = 1  # passes asked for, and the last of them that has been carried out
        self._done = 0
        self._hurry = threading.Event()
        self._closed = threading.Event()
        self._warned = False
        self._refused: Collection[str] = ()
        self._thread = threading.Thread(target=self._work, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin; importing MLflow and opening its store happen in the thread."""
        # MLflow imports it. While it is half imported, reads of the ledger in another thread find parts of it missing.
        importlib.import_module("sqlalchemy.orm")

        self._thread.start()

    def wake(self) -> None:
        """Ask for a pass; returns at once."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that the ledger said at this call is written.

        False if ``timeout_s`` seconds were too few, or, without waiting for it, if the store refuses some of it.
        """
        with self._changed:
            self._asked += 1
            wanted = self._asked
            self._hurry.set()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= wanted, timeout_s) and not self._refused

    def close(self, timeout_s: float) -> bool:
        """Flush, then end the thread; returns what ``flush`` did."""
        written = self.flush(timeout_s)
        with self._changed:
            self._closed.set()
            self._hurry.set()
            self._changed.notify_all()
        self._thread.join(timeout=1.0)  # a pass that hangs in a request ends with the process
        return written

    def prepared(self, plan: EnginePlan) -> None:
        """Nothing to do: the sweep's description is known."""

    @override
    def trial_started(self, trial: TrialRecord) -> None:
        """Ask for a pass, as every other event does."""
        self.wake()

    @override
    def reported(self, trial: TrialRecord, report: Report) -> None:
        self.wake()

    @override
    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        self.wake()

    @override
    def trial_ended(self, trial: TrialRecord) -> None:
        self.wake()

    def _work(self) -> None:
        while not self._closed.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._asked > self._done or self._closed.is_set())
                asked = self._asked
            if self._closed.is_set():
                return
            began = time.monotonic()
            if not self._try():
                return
            with self._changed:
                self._done = asked
                self._changed.notify_all()
            self._rest(self._gap_s - (time.monotonic() - began))

    def _try(self) -> bool:
        """Run a pass until one succeeds; False if closed before that."""
        attempts = Retrying(
            # Whatever the tracker raises (network, locked database, refusal, a bug) must not end the sweep, so all
            # errors are let through to the log and tried again; interrupts of the process are not.
            retry=retry_if_exception_type(Exception),
            wait=wait_exponential(multiplier=1, max=self._longest_wait_s),
            stop=stop_when_event_set(self._closed),
            sleep=self._rest,
            before_sleep=self._report,
            retry_error_callback=lambda _: False,
        )
        return bool(attempts(self._attempt))

    def _attempt(self) -> bool:
        refused = self._synchroniser.run()
        if refused and not self._refused:
            self._warn(f"tracking: MLflow refuses {next(iter(refused))}; MLflow will lack it, and the sweep goes on")
        self._refused = refused
        return True

    def _rest(self, seconds: float) -> None:
        self._hurry.wait(max(0.0, seconds))
        if not self._closed.is_set():
            self._hurry.clear()

    def _report(self, state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        logger.warning("tracking: attempt %d failed", state.attempt_number, exc_info=error)
        if not self._warned:
            self._warned = True
            told = "" if error is None else f": {type(error).__name__}: {reason(error)}"
            self._warn(f"tracking is behind, the sweep goes on{told}")
