"""Optuna's TPE, told what it already knows of the trials that have ended.

Optuna reads every ended trial anew for every proposal, in Python: at 2,000 trials that took as long as all the rest of
a proposal. What it reads there never changes again, so it is kept. The proposals are the same, bit for bit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

EndedTrials = dict[int, Mapping[str, float]]
"""Of each ended trial of a study, by its id: its parameters in Optuna's own numbers."""


class FastTpe(TPESampler):
    """``TPESampler`` for proposal after proposal in one study."""

    def __init__(
        self, space: Mapping[str, BaseDistribution], ended: EndedTrials, *, startup_trials: int, seed: int
    ) -> None:
        """Keep what is read of ended trials in ``ended``, from one sampler to the next.

        Args:
            space: the distribution of every searched parameter, active or not.
            ended: empty at first; belongs to one study.
            startup_trials: random trials before the model is trusted.
            seed: of this proposal alone.
        """
        super().__init__(
            multivariate=True,
            group=True,  # splits conditional parameters off, so that the others are still modelled together
            constant_liar=True,
            n_startup_trials=startup_trials,
            seed=seed,
        )
        self._space = space
        self._ended = ended
        self._group_decomposed_search_space = _Groups(True)

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, NDArray[Any]]:
        numbers = [self._numbers(trial, study) for trial in trials]
        whole = [found for found in numbers if search_space.keys() <= found.keys()]
        return {name: np.asarray([found[name] for found in whole]) for name in search_space}

    def _numbers(self, trial: FrozenTrial, study: Study) -> Mapping[str, float]:
        known = self._ended.get(trial._trial_id)
        if known is None:
            params = self._get_params(trial, study)
            known = {name: self._space[name].to_internal_repr(value) for name, value in params.items()}
            if trial.state.is_finished():
                self._ended[trial._trial_id] = known
        return known


class _Groups(_GroupDecomposedSearchSpace):
    """The parameters that trials have together: the same from every trial as from the first of each kind."""

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        """Return the groups, in Optuna's order."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        first: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}
        for trial in study._get_trials(deepcopy=False, states=states, use_cache=use_cache):
            first.setdefault(tuple(trial.distributions), trial.distributions)
        groups = _SearchSpaceGroup()
        for distributions in first.values():
            groups.add_distributions(distributions)
        return groups
