"""What TPE looks at of a long sweep: the best trials, the newest ones, and those that still run.

So what it computes of them costs the same after ten thousand trials as after five hundred. What is left out are old
trials that were none of the best; TPE too weighs old ones less, though not as sharply. In a space with conditions the
trials of a branch that is seldom drawn are forgotten like others.
"""

from bisect import insort
from collections.abc import Container, Sequence
from math import isnan
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias, cast

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

BEST = 25
"""As many trials as TPE ever calls good."""

NEWEST = 475

_Rank: TypeAlias = tuple[int, int, float]


class Memory:
    """The best and the newest of one study's ended trials. Every ended trial is noted once, in any order."""

    def __init__(self, direction: StudyDirection, newest: int = NEWEST) -> None:
        self._sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        self._most = newest
        self._ranked: list[tuple[_Rank, int, FrozenTrial]] = []
        self._newest: list[FrozenTrial] = []

    def note(self, trial: FrozenTrial) -> None:
        """Take an ended trial in; a failed one teaches nothing, and one without a value is none of the best."""
        rank = self._rank(trial)
        if rank is not None:
            insort(self._ranked, (rank, trial.number, trial), key=itemgetter(0, 1))
            del self._ranked[BEST:]
        if trial.state is not TrialState.FAIL:
            insort(self._newest, trial, key=attrgetter("number"))
            del self._newest[: -self._most]

    @property
    def trials(self) -> list[FrozenTrial]:
        """What is remembered, by ascending number."""
        older = (trial for _, _, trial in self._ranked if trial.number < self._newest[0].number)
        return [*sorted(older, key=attrgetter("number")), *self._newest]

    def _rank(self, trial: FrozenTrial) -> _Rank | None:
        """Return TPE's order, smaller is better: the complete by value, then the pruned by last step and value."""
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            return 0, 0, self._sign * trial.value
        if trial.state is TrialState.PRUNED and trial.intermediate_values:
            step, value = max(trial.intermediate_values.items())
            return 1, -step, float("inf") if isnan(value) else self._sign * value
        return None


class _Remembered:
    """A study that lists what is remembered of its ended trials; in all else it is the study itself."""

    def __init__(self, study: Study, ended: Sequence[FrozenTrial]) -> None:
        self._whole = study
        self._ended = ended
        self._running: list[FrozenTrial] | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the study has)
        return getattr(self._whole, name)

    def _get_trials(
        self,
        *,
        deepcopy: bool,
        states: Container[TrialState],
        use_cache: bool = False,  # noqa: ARG002  (Optuna's)
    ) -> list[FrozenTrial]:
        """TPE reads trials by this method alone, and changes none of them."""
        trials = [trial for trial in self._ended if trial.state in states]
        if TrialState.RUNNING not in states:
            return trials
        if self._running is None:  # read once for all groups of parameters
            self._running = self._whole.get_trials(deepcopy=deepcopy, states=(TrialState.RUNNING,))
        return sorted([*trials, *self._running], key=attrgetter("number"))


def remembered(study: Study, ended: Sequence[FrozenTrial]) -> Study:
    """Return the study as TPE shall see it: with these ended trials, by ascending number, and all that run."""
    return cast("Study", _Remembered(study, ended))


def kinds(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the first trial with each set of parameters: they say of a space what all of them say."""
    first: dict[frozenset[str], FrozenTrial] = {}
    for trial in trials:
        first.setdefault(frozenset(trial.params), trial)
    return list(first.values())
