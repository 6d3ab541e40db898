"""Progress of a sweep. Observers update it on events, and views read it.

Values read several times a second are updated incrementally, so that their cost does not grow with the trials.
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
from orchestrator.core.sweeps.control import Answer, ControlKind, ControlRequest, extended
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.sweeps.policy import Budget
from orchestrator.core.trials.ranking import SortKey, score_key
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.report import words
from orchestrator.training.checkpoints.heartbeat import samples_trained


@dataclass(slots=True)
class Progress:
    """The trials of one sweep and the spent part of its budget. Thread-safe.

    Attributes:
        timetable: report points of the trials; None until the data is read.
        before_s: wall time used by earlier drivers of this sweep, in seconds.
        clock: returns a monotonic time in seconds.
        trained: returns the training samples of a running trial, by its number, from its heartbeat.
        paused_by: who paused the sweep, and why; None: the sweep is not paused.
    """

    metric: Metric
    budget: Budget
    timetable: Timetable | None = None
    before_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    trained: Callable[[int], int] = lambda _: 0
    message: str = ""
    paused_by: str | None = None
    _paused_at: float | None = None
    _running: dict[int, TrialRecord] = field(default_factory=dict)
    _ended: dict[int, TrialRecord] = field(default_factory=dict)
    _ranks: list[SortKey] = field(default_factory=list)  # of ended trials, the best first
    _best: TrialRecord | None = None
    _configurations: ConfigurationSet = field(default_factory=ConfigurationSet)
    _ended_tokens: float = 0.0
    _ended_samples: int = 0
    _fresh: set[int] = field(default_factory=set)  # trainings after the search
    _on_curve: set[int] = field(default_factory=set)  # those for the learning curve
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _begun: float = field(init=False)
    _rank: Callable[[TrialRecord], SortKey] = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()
        self._rank = score_key(self.metric)

    def update(self, *trials: TrialRecord) -> None:
        """Store newer records of trials."""
        with self._lock:
            for trial in trials:
                self._update(trial)

    def _update(self, trial: TrialRecord) -> None:
        number = trial.number
        if number not in self._running and number not in self._ended:
            self._configurations.add(trial.params)
        if trial.confirms is not None:
            self._fresh.add(number)
            if trial.share is not None:
                self._on_curve.add(number)
        # A trial's best value never gets worse, so a trial once overtaken cannot lead again without an update.
        elif self._best is None or self._rank(trial) <= self._rank(self._best):
            self._best = trial
        if not trial.ended:
            self._running[number] = trial
            return
        self._running.pop(number, None)
        if number not in self._ended:
            if trial.confirms is None:
                insort(self._ranks, self._rank(trial))
            self._ended_tokens += _tokens(trial)
            self._ended_samples += trial.samples
        self._ended[number] = trial

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Running trials, the newest first, then ended ones, the best first."""
        return self.first(None)

    def first(self, count: int | None) -> tuple[TrialRecord, ...]:
        """Return the first ``count`` of ``trials``; None returns all."""
        with self._lock:
            running = sorted(self._running.values(), key=lambda trial: -trial.number)[:count]
            ended = self._ranks[: None if count is None else count - len(running)]
            return (*running, *(self._ended[number] for *_, number in ended))

    @property
    def count(self) -> int:
        """Number of trials."""
        return len(self._running) + len(self._ended)

    @property
    def running(self) -> int:
        """Number of running trials."""
        return len(self._running)

    @property
    def ended(self) -> int:
        """Number of ended trials of the search."""
        return len(self._ended.keys() - self._fresh)

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best score so far."""
        best = self._best
        return None if best is None or best.score(self.metric) is None else best

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the parameters with different values; all parameters while there is only one trial."""
        with self._lock:
            return self._configurations.varied

    @property
    def elapsed_s(self) -> float:
        """Wall time used by all drivers of this sweep, in seconds."""
        return self.before_s + (self._paused_at or self.clock()) - self._begun

    def answered(self, request: ControlRequest) -> None:
        """Follow a user's request: a larger budget, a pause or its end."""
        if request.answer is not Answer.DONE:
            return
        self.budget = extended(self.budget, [request])
        if request.kind is ControlKind.PAUSE:
            self.paused_by, self._paused_at = request.author, self.clock()
        elif request.kind is ControlKind.RESUME and self._paused_at is not None:
            self._begun += self.clock() - self._paused_at
            self.paused_by = self._paused_at = None

    def prepared(self, plan: EnginePlan) -> None:
        """Store the timetable, and read heartbeats from the sweep's folder."""
        self.timetable = plan.timetable
        self.trained = partial(samples_trained, Path(plan.sweep_dir))

    def samples(self, trial: TrialRecord) -> int:
        """Return the training samples of a trial, including samples since its newest report."""
        return trial.samples if trial.ended else max(trial.samples, self.trained(trial.number))

    def trained_fraction(self, trial: TrialRecord) -> float:
        """Return the trained fraction of a trial in [0, 1]; 1 for an ended trial."""
        if trial.ended:
            return 1.0
        whole = self.whole_samples(trial)
        return min(1.0, self.samples(trial) / whole) if whole else 0.0

    def whole_samples(self, trial: TrialRecord) -> int | None:
        """Return the nominal training samples of an unpruned trial; None without a timetable."""
        return None if self.timetable is None else self.timetable.of(trial.settings)[-1]

    @property
    def fraction(self) -> float:
        """The spent fraction of the budget in [0, 1]: the largest of trials, time and tokens."""
        with self._lock:
            running = [trial for trial in self._running.values() if trial.number not in self._fresh]
            budget = self.budget
        shares = [0.0]
        if budget.trials:
            shares.append((self.ended + sum(map(self.trained_fraction, running))) / budget.trials)
        if budget.wall_time_s:
            shares.append(self.elapsed_s / budget.wall_time_s)
        if budget.tokens:
            shares.append((self._ended_tokens + sum(map(_tokens, running))) / budget.tokens)
        return min(1.0, max(shares))

    @property
    def remaining_s(self) -> float | None:
        """Estimated remaining wall time in seconds; None if no estimate is possible."""
        spent, budget, bounds = self.fraction, self.budget, []
        measurable = 0.02 < spent < 1
        if not measurable and (budget.trials or budget.tokens):
            return None  # the time budget alone would give far too high an estimate
        if measurable and budget.trials:
            bounds.append(self.elapsed_s * self._remaining_ratio(budget.trials))
        elif measurable and self.count:
            bounds.append(self.elapsed_s * (1 - spent) / spent)
        if budget.wall_time_s:
            bounds.append(max(0.0, budget.wall_time_s - self.elapsed_s))
        return min(bounds, default=None)

    @property
    def suspends(self) -> bool:
        """Whether the wall time is spent. Then the driver suspends unfinished trials and closes the sweep."""
        limit = self.budget.wall_time_s
        return limit is not None and self.elapsed_s >= limit

    @property
    def tally(self) -> str:
        """Ended trials, elapsed time and remaining time, as text."""
        remaining, of = self.remaining_s, f" of {self.budget.trials}" if self.budget.trials else ""
        groups = ((self._fresh - self._on_curve, "fresh seeds"), (self._on_curve, "trainings for the learning curve"))
        after = (f" · {len(each & self._ended.keys())} of {len(each)} {name}" for each, name in groups if each)
        spent = f"{self.ended}{of} trials{''.join(after)} · {words.duration(self.elapsed_s)}"
        if self.suspends and self._running:
            return f"{spent} · time spent, unfinished trials suspended"
        return spent if remaining is None else f"{spent} · {words.duration(remaining)} left"

    def _remaining_ratio(self, trials: int) -> float:
        """Return the ratio of samples still to be trained to samples trained.

        Trials continued after a report are assumed to train to the end, others to the mean length of ended trials.
        """
        with self._lock:
            running, ended, ended_samples = [*self._running.values()], self.ended, self._ended_samples
        samples = [self.samples(trial) for trial in running]
        trained = ended_samples + sum(samples)
        if not trained:
            return math.inf
        lengths = [self.whole_samples(trial) or 0 for trial in running]
        mean_length = ended_samples / ended if ended else max(lengths, default=0)
        remaining = max(0, trials - ended - len(running)) * mean_length
        for trial, length, so_far in zip(running, lengths, samples, strict=True):
            remaining += max(0, (length if trial.reports and not trial.undecided else mean_length) - so_far)
        return remaining / trained


def _tokens(trial: TrialRecord) -> float:
    """Return the training tokens of a trial (padding excluded) at its newest report."""
    return trial.reports[-1].metrics.get("progress/tokens", 0.0) if trial.reports else 0.0
