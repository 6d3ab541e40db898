"""A sweep's events as plain lines, one each, for logs and pipes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.cli.progress import Progress
from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import Decision, Report, TrialRecord
from orchestrator.report import words

QUIET_S = 60.0
"""Seconds without a line after which one says how far the sweep is."""


class Lines:
    """A ``SweepObserver`` that writes a line per event, and one that says how far the sweep is when events are rare.

    Args:
        progress: the sweep's state, kept up to date here.
        write: takes one line.
        quiet_s: seconds without a line after which progress is written.
    """

    def __init__(self, progress: Progress, write: Callable[[str], None], quiet_s: float = QUIET_S) -> None:
        self._progress = progress
        self._write = write
        self._quiet_s = quiet_s
        self._written = threading.Event()
        self._gone = False

    def prepared(self, plan: EnginePlan) -> None:
        self._progress.prepared(plan)

    def trial_started(self, trial: TrialRecord) -> None:
        again = f", from {words.count(trial.reports[-1].nominal_samples)} samples" if trial.reports else ""
        self._progress.update(trial)
        self.say(f"trial {trial.number} started{again}: {words.params(trial.params, trial.params)}")

    def reported(self, trial: TrialRecord, report: Report) -> None:
        self._progress.update(trial)
        name = self._progress.metric.name
        parts = [f"trial {trial.number} at {words.count(report.nominal_samples)} samples:"]
        parts += [f"{name} {words.number(report.metrics.get(name))}"]
        parts += [] if name == "val/loss" else [f"val/loss {words.number(report.metrics.get('val/loss'))}"]
        self.say(" ".join((*parts, f"gap {words.signed(report.metrics.get('gap/loss'), 3)}")))

    def decided(self, trial: TrialRecord, decision: Decision) -> None:  # noqa: ARG002
        """Say nothing: that a trial goes on is no news, and its end has a line of its own."""
        self._progress.update(trial)

    def trial_ended(self, trial: TrialRecord) -> None:
        self._progress.update(trial)
        metric, best = self._progress.metric, self._progress.best
        score = trial.score(metric)
        won = ", the best so far" if best is not None and best.number == trial.number else ""
        told = "" if score is None else f"; best {metric.name} {words.number(score)}{won}"
        of = f"/{self._progress.budget.trials}" if self._progress.budget.trials else ""
        count = f"[{self._progress.ended}{of}]"
        self.say(f"trial {trial.number} ended {trial.state}: {trial.reason or 'done'}{told} {count}")

    def say(self, line: str) -> None:
        """Write one line with the time before it. A reader that went away does not stop the sweep."""
        self._written.set()
        if self._gone:
            return
        try:
            self._write(f"{time.strftime('%H:%M:%S')} {line}")
        except (OSError, ValueError):  # the pipe or the file behind it is closed
            self._gone = True

    def release(self) -> None:
        """Do nothing: lines hold nothing of the terminal."""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Write the progress while the block lasts, whenever no event did for a while."""
        ended = threading.Event()

        def remind() -> None:
            while not ended.is_set():
                if not self._written.wait(self._quiet_s) and not ended.is_set() and self._progress.count:
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
