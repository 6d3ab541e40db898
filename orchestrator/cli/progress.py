"""How far a sweep is: a small state that events change and views read. It knows no terminal.

What views ask for at every event, or several times a second, is kept as trials change, not looked for among them all.
"""

import math
import threading
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orchestrator.core.configurations import ConfigurationSet
from orchestrator.core.metric import Metric
from orchestrator.core.plan import EnginePlan
from orchestrator.core.policy import Budget
from orchestrator.core.ranking import SortKey, score_key
from orchestrator.core.timetable import Timetable
from orchestrator.core.trial import TrialRecord
from orchestrator.report import words
from orchestrator.training.checkpoints.heartbeat import samples_trained


@dataclass(slots=True)
class Progress:
    """The trials of one sweep as they stand, and what is left of its budget. Safe to use from several threads.

    Attributes:
        timetable: where trials end; None if that is known only once the data is read.
        before_s: wall time that earlier drivers of this sweep have used, in seconds.
        clock: the time in seconds, from any start.
        trained: training samples that a running trial, by its number, has noted since its newest report.
    """

    metric: Metric
    budget: Budget
    timetable: Timetable | None = None
    before_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    trained: Callable[[int], int] = lambda _: 0
    message: str = ""
    _running: dict[int, TrialRecord] = field(default_factory=dict)
    _ended: dict[int, TrialRecord] = field(default_factory=dict)
    _ranks: list[SortKey] = field(default_factory=list)  # of those that ended, the best first
    _best: TrialRecord | None = None
    _configurations: ConfigurationSet = field(default_factory=ConfigurationSet)
    _ended_tokens: float = 0.0
    _ended_samples: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _begun: float = field(init=False)
    _rank: Callable[[TrialRecord], SortKey] = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()
        self._rank = score_key(self.metric)

    def update(self, *trials: TrialRecord) -> None:
        """Take over newer states of trials."""
        with self._lock:
            for trial in trials:
                self._update(trial)

    def _update(self, trial: TrialRecord) -> None:
        number = trial.number
        if number not in self._running and number not in self._ended:
            self._configurations.add(trial.params)
        # A trial's best value only gets better, so nobody who was passed has to be looked at again.
        if self._best is None or self._rank(trial) <= self._rank(self._best):
            self._best = trial
        if not trial.ended:
            self._running[number] = trial
            return
        self._running.pop(number, None)
        if number not in self._ended:
            insort(self._ranks, self._rank(trial))
            self._ended_tokens += _tokens(trial)
            self._ended_samples += trial.samples
        self._ended[number] = trial

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Running trials, the newest first, then ended ones, the best first."""
        return self.first(None)

    def first(self, count: int | None) -> tuple[TrialRecord, ...]:
        """Return so many of ``trials``; None: all."""
        with self._lock:
            running = sorted(self._running.values(), key=lambda trial: -trial.number)[:count]
            ended = self._ranks[: None if count is None else count - len(running)]
            return (*running, *(self._ended[number] for _, number in ended))

    @property
    def count(self) -> int:
        """Number of trials."""
        return len(self._running) + len(self._ended)

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return len(self._ended)

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best score so far."""
        best = self._best
        return None if best is None or best.score(self.metric) is None else best

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the parameters that differ between trials; all of them while there is but one trial."""
        with self._lock:
            return self._configurations.varied

    @property
    def elapsed_s(self) -> float:
        """Wall time that drivers of this sweep have used, in seconds."""
        return self.before_s + self.clock() - self._begun

    def prepared(self, plan: EnginePlan) -> None:
        """Take over when trials report and where they write how far they are."""
        self.timetable = plan.timetable
        self.trained = partial(samples_trained, Path(plan.sweep_dir))

    def samples(self, trial: TrialRecord) -> int:
        """Return the training samples of a trial so far, those since its newest report included."""
        return trial.samples if trial.ended else max(trial.samples, self.trained(trial.number))

    def share(self, trial: TrialRecord) -> float:
        """Return how much of a whole trial was trained, 0 to 1; an ended trial needs nothing more."""
        if trial.ended:
            return 1.0
        whole = self.whole_samples(trial)
        return min(1.0, self.samples(trial) / whole) if whole else 0.0

    def whole_samples(self, trial: TrialRecord) -> int | None:
        """Return the nominal training samples of a trial that is not stopped early; None while that is not known."""
        return None if self.timetable is None else self.timetable.of(trial.settings)[-1]

    @property
    def fraction(self) -> float:
        """The share of the budget that is spent, 0 to 1: of trials, time or tokens, whichever is nearest its end."""
        with self._lock:
            running, budget = [*self._running.values()], self.budget
        shares = [0.0]
        if budget.trials:
            shares.append((self.ended + sum(map(self.share, running))) / budget.trials)
        if budget.wall_time_s:
            shares.append(self.elapsed_s / budget.wall_time_s)
        if budget.tokens:
            shares.append((self._ended_tokens + sum(map(_tokens, running))) / budget.tokens)
        return min(1.0, max(shares))

    @property
    def left_s(self) -> float | None:
        """Estimated wall time to the end, in seconds; None while there is nothing to go by, and when all is spent."""
        done, budget, bounds = self.fraction, self.budget, []
        under_way = 0.02 < done < 1
        if not under_way and (budget.trials or budget.tokens):
            return None  # what is left of the time budget alone would be far too much
        if under_way and budget.trials:
            bounds.append(self.elapsed_s * self._to_come(budget.trials))
        elif under_way and self.count:
            bounds.append(self.elapsed_s * (1 - done) / done)
        if budget.wall_time_s:
            bounds.append(max(0.0, budget.wall_time_s - self.elapsed_s))
        return min(bounds, default=None)

    @property
    def tally(self) -> str:
        """Trials that ended, the time spent and the time left, in words."""
        left, of = self.left_s, f" of {self.budget.trials}" if self.budget.trials else ""
        told = f"{self.ended}{of} trials · {words.duration(self.elapsed_s)}"
        return told if left is None else f"{told} · {words.duration(left)} left"

    def _to_come(self, trials: int) -> float:
        """Return how many samples will be trained for each that was.

        Who has passed a rung is taken to train to the end, all others as much as those that ended have, on average.
        """
        with self._lock:
            running, ended, gone = [*self._running.values()], len(self._ended), self._ended_samples
        seen = [self.samples(trial) for trial in running]
        trained = gone + sum(seen)
        if not trained:
            return math.inf
        wholes = [self.whole_samples(trial) or 0 for trial in running]
        usual = gone / ended if ended else max(wholes, default=0)
        ahead = max(0, trials - ended - len(running)) * usual
        for trial, whole, samples in zip(running, wholes, seen, strict=True):
            ahead += max(0, (whole if trial.reports and not trial.undecided else usual) - samples)
        return ahead / trained


def _tokens(trial: TrialRecord) -> float:
    """Return the real training tokens of a trial so far."""
    return trial.reports[-1].metrics.get("progress/tokens", 0.0) if trial.reports else 0.0
