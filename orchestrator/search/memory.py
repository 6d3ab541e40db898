"""What a sampler looks at of a long sweep: the best trials, the newest ones, and those that still run.

So what it computes of them costs the same after ten thousand trials as after five hundred. What is left out are old
trials that were none of the best; TPE too weighs old ones less, though not as sharply. In a space with conditions the
trials of a branch that is seldom drawn are forgotten like others.
"""

from bisect import insort
from collections.abc import Container
from math import isnan
from operator import itemgetter
from typing import Any, TypeAlias, cast

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

BEST = 25
"""As many trials as TPE ever calls good."""

NEWEST = 475

_Rank: TypeAlias = tuple[int, int, float]


class Memory:
    """The best trials of one study, by number. Every ended trial is noted once."""

    def __init__(self, direction: StudyDirection) -> None:
        self._sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        self._ranked: list[tuple[_Rank, int]] = []

    def note(self, trial: FrozenTrial) -> None:
        """Take an ended trial in; one without a value is none of the best."""
        rank = self._rank(trial)
        if rank is not None:
            insort(self._ranked, (rank, trial.number))
            del self._ranked[BEST:]

    @property
    def best(self) -> frozenset[int]:
        """Numbers of the best trials."""
        return frozenset(map(itemgetter(1), self._ranked))

    def _rank(self, trial: FrozenTrial) -> _Rank | None:
        """Return TPE's order, smaller is better: the complete by value, then the pruned by last step and value."""
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            return 0, 0, self._sign * trial.value
        if trial.state is TrialState.PRUNED and trial.intermediate_values:
            step, value = max(trial.intermediate_values.items())
            return 1, -step, float("inf") if isnan(value) else self._sign * value
        return None


class _Remembered:
    """A study of which a sampler sees what is remembered; in all else it is the study itself."""

    def __init__(self, study: Study, best: Container[int], newest: int) -> None:
        self._whole = study
        self._best = best
        self._newest = newest

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the study has)
        return getattr(self._whole, name)

    def _get_trials(self, *args: Any, **options: Any) -> list[FrozenTrial]:  # noqa: ANN401  (Optuna's own)
        """TPE reads trials by this method alone, sorted by number."""
        trials: list[FrozenTrial] = self._whole._get_trials(*args, **options)
        older = trials[: max(0, len(trials) - self._newest)]
        kept = [trial for trial in older if trial.number in self._best or trial.state is TrialState.RUNNING]
        return kept + trials[len(older) :]


def remembered(study: Study, best: Container[int], newest: int = NEWEST) -> Study:
    """Return the study as a sampler shall see it: so many of its newest trials, and older ones that matter."""
    return cast("Study", _Remembered(study, best, newest))
