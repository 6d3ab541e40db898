"""The events of a sweep as plain lines, for logs and pipes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from typing_extensions import override

from orchestrator.cli.progress import Progress
from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import Decision, Report, TrialRecord
from orchestrator.report import words

SILENCE_S = 60.0
"""Seconds without output before a progress line is written."""


class Lines(SweepObserver):
    """A ``SweepObserver``. It writes one line per event, and progress lines between rare events.

    Args:
        progress: state of the sweep; updated here.
        write: writes one line.
        silence_s: seconds without output before a progress line is written.
    """

    def __init__(self, progress: Progress, write: Callable[[str], None], silence_s: float = SILENCE_S) -> None:
        self._progress = progress
        self._write = write
        self._silence_s = silence_s
        self._written = threading.Event()
        self._closed = False

    @override
    def prepared(self, plan: EnginePlan) -> None:
        self._progress.prepared(plan)

    @override
    def trial_started(self, trial: TrialRecord) -> None:
        resumed = f" at {words.count(trial.reports[-1].nominal_samples)} samples" if trial.reports else ""
        verb = "resumed" if trial.reports else "started"
        self._progress.update(trial)
        self.say(f"trial {trial.number} {verb}{resumed}: {words.params(trial.params, trial.params)}")

    @override
    def reported(self, trial: TrialRecord, report: Report) -> None:
        self._progress.update(trial)
        name = self._progress.metric.name
        parts = [f"trial {trial.number} at {words.count(report.nominal_samples)} samples:"]
        parts += [f"{name} {words.number(report.metrics.get(name))}"]
        parts += [] if name == "val/loss" else [f"val/loss {words.number(report.metrics.get('val/loss'))}"]
        self.say(" ".join((*parts, f"gap {words.signed(report.metrics.get('gap/loss'), 3)}")))

    @override
    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        """Write nothing: a stopped trial gets its line when it ends."""
        self._progress.update(trial)

    @override
    def trial_ended(self, trial: TrialRecord) -> None:
        self._progress.update(trial)
        metric, best = self._progress.metric, self._progress.best
        score = trial.score(metric)
        lead = ", the best so far" if best is not None and best.number == trial.number else ""
        result = "" if score is None else f"; best {metric.name} {words.number(score)}{lead}"
        of = f"/{self._progress.budget.trials}" if self._progress.budget.trials else ""
        count = f"[{self._progress.ended}{of}]"
        self.say(f"trial {trial.number} ended {trial.state}: {trial.reason or 'done'}{result} {count}")

    @override
    def answered(self, request: ControlRequest) -> None:
        self._progress.answered(request)
        self.say(request.sentence)

    def say(self, line: str) -> None:
        """Write one line with the current time. If the pipe is closed, the sweep continues without output."""
        self._written.set()
        if self._closed:
            return
        try:
            self._write(f"{time.strftime('%H:%M:%S')} {line}")
        except (OSError, ValueError):  # the pipe or file is closed
            self._closed = True

    def release(self) -> None:
        """Do nothing: plain lines do not change the terminal's state."""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Write progress lines during the block, whenever there was no output for ``silence_s``."""
        ended = threading.Event()

        def remind() -> None:
            while not ended.is_set():
                if not self._written.wait(self._silence_s) and not ended.is_set() and self._progress.count:
                    self.say(f"{words.percent(self._progress.fraction)} · {self._progress.tally}")
                self._written.clear()

        thread = threading.Thread(target=remind, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            self._written.set()
            thread.join()
