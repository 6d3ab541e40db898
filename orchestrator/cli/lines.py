"""A sweep's events as plain lines, one each, for logs and pipes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.cli.progress import Progress
from orchestrator.core.trial import Report, TrialRecord, Verdict
from orchestrator.report import words


class Lines:
    """A ``SweepObserver`` that writes a line per event.

    Args:
        progress: the sweep's state, kept up to date here.
        write: takes one line.
    """

    def __init__(self, progress: Progress, write: Callable[[str], None]) -> None:
        self._progress = progress
        self._write = write
        self._gone = False

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

    def decided(self, trial: TrialRecord, verdict: Verdict) -> None:  # noqa: ARG002
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
        """Do nothing more: lines need no frame."""
        yield
