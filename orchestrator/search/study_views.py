"""Views of a study for Optuna's samplers, which read trials through one private method of a study."""

from collections.abc import Container, Sequence
from operator import attrgetter
from typing import cast

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class _Reduced:
    """A study with the given ended trials and all running ones; every other attribute is the study's own."""

    def __init__(self, study: Study, ended: Sequence[FrozenTrial]) -> None:
        self._study = study
        self._ended = ended
        self._running: list[FrozenTrial] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._study, name)

    def _get_trials(self, *, deepcopy: bool, states: Container[TrialState], **_: bool) -> list[FrozenTrial]:
        """Return trials as ``Study._get_trials``. TPE reads trials through this method only, and changes none."""
        trials = [trial for trial in self._ended if trial.state in states]
        if TrialState.RUNNING not in states:
            return trials
        if self._running is None:  # read once for all groups of parameters
            self._running = self._study.get_trials(deepcopy=deepcopy, states=(TrialState.RUNNING,))
        return sorted([*trials, *self._running], key=attrgetter("number"))


def with_ended(study: Study, ended: Sequence[FrozenTrial]) -> Study:
    """Return a view of the study for TPE: these ended trials, by ascending number, and all running trials."""
    return cast("Study", _Reduced(study, ended))


def one_per_parameter_set(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the first trial with each set of parameters. TPE derives the same space from them as from all trials."""
    first: dict[frozenset[str], FrozenTrial] = {}
    for trial in trials:
        first.setdefault(frozenset(trial.params), trial)
    return list(first.values())


class _Without:
    """A study without one of its trials; every other attribute is the study's own."""

    def __init__(self, study: Study, number: int) -> None:
        self._study = study
        self._number = number

    def __getattr__(self, name: str) -> object:
        return getattr(self._study, name)

    def _get_trials(self, *, deepcopy: bool, states: Container[TrialState], **_: bool) -> list[FrozenTrial]:
        """Return trials as ``Study._get_trials``."""
        trials = self._study.get_trials(deepcopy=deepcopy, states=states)
        return [trial for trial in trials if trial.number != self._number]


def without_trial(study: Study, number: int) -> Study:
    """Return a view of the study without one trial, for a sampler that proposes this trial."""
    return cast("Study", _Without(study, number))
