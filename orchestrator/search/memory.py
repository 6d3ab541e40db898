"""What a sampler looks at of a long sweep: the best trials and the newest ones.

So a proposal costs the same after ten thousand trials as after five hundred. What is left out are bad trials of long
ago, which TPE hardly weighs: of all but its 25 newest it weighs the older the less.
"""

from bisect import insort
from collections.abc import Container
from math import isnan
from typing import Any, cast

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

BEST = 25
"""As many trials as TPE ever calls good."""

NEWEST = 475


class Memory:
    """The best trials of one study, by number. Every ended trial is noted once."""

    def __init__(self, direction: StudyDirection) -> None:
        self._sign = -1 if direction is StudyDirection.MAXIMIZE else 1
        self._ranked: list[tuple[float, ...]] = []

    def note(self, trial: FrozenTrial) -> None:
        """Take an ended trial in; one without a value is none of the best."""
        rank = self._rank(trial)
        if rank is not None:
            insort(self._ranked, (*rank, trial.number))
            del self._ranked[BEST:]

    @property
    def best(self) -> frozenset[int]:
        """Numbers of the best trials."""
        return frozenset(int(rank[-1]) for rank in self._ranked)

    def _rank(self, trial: FrozenTrial) -> tuple[float, ...] | None:
        """Return TPE's order, smaller is better: the complete by value, then the pruned by last step and value."""
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            return 0, 0, self._sign * trial.value
        if trial.state is TrialState.PRUNED and trial.intermediate_values:
            step, value = max(trial.intermediate_values.items())
            return 1, -step, float("inf") if isnan(value) else self._sign * value
        return None


class Remembered:
    """A study of which a sampler sees what is remembered; in all else it is the study itself."""

    def __init__(self, study: Study, best: Container[int]) -> None:
        self._whole = study
        self._best = best

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the study has)
        return getattr(self._whole, name)

    def _get_trials(self, *args: Any, **options: Any) -> list[FrozenTrial]:  # noqa: ANN401  (Optuna's own)
        """Optuna's samplers read trials by this method alone, sorted by number."""
        trials: list[FrozenTrial] = self._whole._get_trials(*args, **options)
        older = trials[: max(0, len(trials) - NEWEST)]
        return [trial for trial in older if trial.number in self._best] + trials[len(older) :]


def remembered(study: Study, best: Container[int]) -> Study:
    """Return the study as a sampler shall see it."""
    return cast("Study", Remembered(study, best))
