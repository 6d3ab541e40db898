"""How far a sweep is: a small state that events change and views read. It knows no terminal."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from orchestrator.core.metric import Metric
from orchestrator.core.policy import Budget
from orchestrator.core.trial import TrialRecord


@dataclass(slots=True)
class Progress:
    """The trials of one sweep as they stand, and what is left of its budget. Safe to use from several threads.

    Attributes:
        whole_samples: nominal training samples of a whole trial; None if that is known only once the data is read.
        before_s: wall time that earlier drivers of this sweep have used, in seconds.
        clock: the time in seconds, from any start.
    """

    metric: Metric
    budget: Budget
    whole_samples: int | None = None
    before_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    message: str = ""
    _trials: dict[int, TrialRecord] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    def update(self, *trials: TrialRecord) -> None:
        """Take over newer states of trials."""
        with self._lock:
            self._trials |= {trial.number: trial for trial in trials}

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Running trials, the newest first, then ended ones, the best first."""
        with self._lock:
            known = list(self._trials.values())
        running = sorted((t for t in known if not t.ended), key=lambda trial: -trial.number)
        return (*running, *sorted((t for t in known if t.ended), key=self._rank))

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best score so far."""
        best = min(self.trials, key=self._rank, default=None)
        return None if best is None or best.score(self.metric) is None else best

    @property
    def elapsed_s(self) -> float:
        """Wall time that drivers of this sweep have used, in seconds."""
        return self.before_s + self.clock() - self._begun

    def share(self, trial: TrialRecord) -> float:
        """Return how much of a whole trial was trained, 0 to 1; an ended trial needs nothing more."""
        if trial.ended:
            return 1.0
        if not trial.reports or not self.whole_samples:
            return 0.0
        return min(1.0, trial.reports[-1].nominal_samples / self.whole_samples)

    @property
    def fraction(self) -> float:
        """The share of the budget that is spent, 0 to 1: of trials, time or tokens, whichever is nearest its end."""
        trials, budget = self.trials, self.budget
        shares = [0.0]
        if budget.trials:
            shares.append(sum(map(self.share, trials)) / budget.trials)
        if budget.wall_time_s:
            shares.append(self.elapsed_s / budget.wall_time_s)
        if budget.tokens:
            shares.append(tokens(trials) / budget.tokens)
        return min(1.0, max(shares))

    @property
    def left_s(self) -> float | None:
        """Estimated wall time to the end, in seconds; None while there is nothing to go by."""
        done, bounds = self.fraction, []
        if 0.02 < done < 1 and self.trials:
            bounds.append(self.elapsed_s * (1 - done) / done)
        if self.budget.wall_time_s:
            bounds.append(max(0.0, self.budget.wall_time_s - self.elapsed_s))
        return min(bounds, default=None)

    def _rank(self, trial: TrialRecord) -> tuple[float, int]:
        return self.metric.sort_key(trial.score(self.metric)), trial.number


def tokens(trials: Iterable[TrialRecord]) -> float:
    """Return the real training tokens of all trials so far."""
    return sum(trial.reports[-1].metrics.get("progress/tokens", 0.0) for trial in trials if trial.reports)
