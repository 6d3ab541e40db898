"""The ended trials given to TPE: the best and the newest.

So a proposal costs the same after ten thousand trials as after five hundred. TPE also gives old trials a smaller
weight, though not zero. Old trials outside the best are dropped, including those of rarely sampled conditions.
"""

import sys
from bisect import insort
from collections.abc import Sequence
from math import isnan
from operator import attrgetter, itemgetter
from typing import TypeAlias

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.search.constraints import violation

BEST = 25
"""The most trials that TPE ever treats as good."""

NEWEST = 475

_Rank: TypeAlias = tuple[int, int, float]


class TpeHistory:
    """The best and the newest ended trials of one study. Every ended trial is added once, in any order."""

    def __init__(self, directions: Sequence[StudyDirection], newest: int = NEWEST) -> None:
        """Keep ``newest`` of the newest trials; all trials of a study with several metrics, which have no order."""
        self._several = len(directions) > 1
        self._sign = -1.0 if directions[0] is StudyDirection.MAXIMIZE else 1.0
        self._max_newest = sys.maxsize if self._several else newest
        self._best: list[tuple[_Rank, int, FrozenTrial]] = []
        self._newest: list[FrozenTrial] = []

    def add(self, trial: FrozenTrial) -> None:
        """Add an ended trial; failed trials and trials without a value never count as the best."""
        rank = self._rank(trial)
        if rank is not None:
            insort(self._best, (rank, trial.number, trial), key=itemgetter(0, 1))
            del self._best[BEST:]
        if trial.state is not TrialState.FAIL:
            insort(self._newest, trial, key=attrgetter("number"))
            del self._newest[: -self._max_newest]

    @property
    def trials(self) -> list[FrozenTrial]:
        """The kept trials by ascending number."""
        older = (trial for _, _, trial in self._best if trial.number < self._newest[0].number)
        return [*sorted(older, key=attrgetter("number")), *self._newest]

    def _rank(self, trial: FrozenTrial) -> _Rank | None:
        """Return TPE's order, smaller is better: complete trials by value, then pruned ones by last step and value.

        Trials that violate a constraint come after all others, by their violation.
        """
        if self._several or trial.state is TrialState.FAIL:
            return None
        if (excess := violation(trial)) > 0:
            return 2, 0, excess
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            return 0, 0, self._sign * trial.value
        if trial.state is TrialState.PRUNED and trial.intermediate_values:
            step, value = max(trial.intermediate_values.items())
            return 1, -step, float("inf") if isnan(value) else self._sign * value
        return None
