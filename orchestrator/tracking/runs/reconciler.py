"""A thread in the driver: it updates MLflow from the ledger in repeated passes.

Training never waits for it. A slow or absent server delays only this thread: failed passes are retried with growing
intervals. The next run of the same command writes anything missing at the end.
"""

import importlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential
from typing_extensions import override

from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import Decision, Report, TrialRecord
from orchestrator.tracking.refusals import reason

logger = logging.getLogger(__name__)


class Pass(Protocol):
    """Writes missing records, or raises; returns the items refused by the store, in words."""

    def run(self) -> Collection[str]: ...


class Reconciler(SweepObserver):
    """Makes a pass after ``wake``, at most one every ``gap_s`` seconds. As a sweep's observer it wakes at every event.

    Args:
        synchroniser: makes one pass.
        warn: receives one message if the store is unreachable, and one if it refuses an item; further errors go to the
            log only.
        gap_s: seconds between the starts of two passes; it batches events.
        longest_wait_s: longest interval between two attempts on an unreachable store, in seconds.
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
        self._requested = 1  # number of the newest requested pass, and of the newest completed one
        self._done = 0
        self._hurry = threading.Event()
        self._closed = threading.Event()
        self._warned = False
        self._refused: Collection[str] = ()
        self._thread = threading.Thread(target=self._work, name="reconciler", daemon=True)

    def start(self) -> None:
        """Start the thread, which imports MLflow and opens its store."""
        # MLflow imports it in the thread; until the import ends, reads of the ledger in other threads would fail.
        importlib.import_module("sqlalchemy.orm")

        self._thread.start()

    def wake(self) -> None:
        """Request a pass; returns at once."""
        with self._changed:
            self._requested += 1
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait for a complete pass. Return False after ``timeout_s`` seconds, or if the store refuses an item."""
        with self._changed:
            self._requested += 1
            wanted = self._requested
            self._hurry.set()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= wanted, timeout_s) and not self._refused

    def close(self, timeout_s: float) -> bool:
        """Flush, end the thread, and return the result of ``flush``."""
        written = self.flush(timeout_s)
        with self._changed:
            self._closed.set()
            self._hurry.set()
            self._changed.notify_all()
        self._thread.join(timeout=1.0)  # a pass that hangs in a request ends with the process
        return written

    @override
    def prepared(self, plan: EnginePlan) -> None:
        """Do nothing: the description of the sweep is known."""

    @override
    def trial_started(self, trial: TrialRecord) -> None:
        """Request a pass."""
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
                self._changed.wait_for(lambda: self._requested > self._done or self._closed.is_set())
                requested = self._requested
            if self._closed.is_set():
                return
            began = time.monotonic()
            if not self._try():
                return
            with self._changed:
                self._done = requested
                self._changed.notify_all()
            self._rest(self._gap_s - (time.monotonic() - began))

    def _try(self) -> bool:
        """Repeat the pass until it succeeds. Return False if the reconciler is closed first."""
        attempts = Retrying(
            # No error of the tracker (network, locked database, refusal, bug) may end the sweep: all go to the log and
            # are retried. Interrupts of the process are let through.
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
            self._warn(f"tracking: MLflow refuses {next(iter(refused))}; MLflow will lack it; the sweep continues")
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
            detail = "" if error is None else f": {type(error).__name__}: {reason(error)}"
            self._warn(f"tracking is behind; the sweep continues{detail}")
