"""Optuna's TPE, told what it already knows of the trials that have ended.

Optuna reads every ended trial anew for every proposal, in Python: at 2,000 trials that took as long as all the rest of
a proposal. What it reads there never changes again, so it is kept. The proposals are the same, bit for bit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What TPE needs of one trial.

    Attributes:
        numbers: its parameters in Optuna's own numbers.
        rank: its place among the others, smaller is better: completed trials by value, then pruned ones, those that
            came furthest first, then by the value there; None while it runs.
    """

    numbers: Mapping[str, float]
    rank: tuple[int, float, float] | None


EndedTrials = dict[int, Read]
"""What was read of each ended trial of a study, by its id."""


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

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Do what ``TPESampler`` does for one objective without constraints."""
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        others = [other for other in study._get_trials(deepcopy=False, states=states) if other.number != trial.number]
        ranks = [(rank, other.number) for other in others if (rank := self._read(other, study).rank) is not None]
        best = {number for _, number in nsmallest(default_gamma(len(ranks)), ranks)}
        below: list[FrozenTrial] = []
        above: list[FrozenTrial] = []
        for other in others:
            (below if other.number in best else above).append(other)
        good = self._build_parzen_estimator(study, search_space, below, handle_below=True)
        bad = self._build_parzen_estimator(study, search_space, above, handle_below=False)
        samples = good.sample(self._rng.rng, self._n_ei_candidates)
        chosen = self._compare(samples, self._compute_acquisition_func(samples, good, bad))
        return {name: inner.to_external_repr(chosen[name]) for name, inner in search_space.items()}

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, NDArray[Any]]:
        numbers = [self._read(trial, study).numbers for trial in trials]
        whole = [found for found in numbers if search_space.keys() <= found.keys()]
        return {name: np.asarray([found[name] for found in whole]) for name in search_space}

    def _read(self, trial: FrozenTrial, study: Study) -> Read:
        known = self._ended.get(trial._trial_id)
        if known is None:
            params = self._get_params(trial, study)
            numbers = {name: self._space[name].to_internal_repr(value) for name, value in params.items()}
            known = Read(numbers=numbers, rank=_rank(trial, sign=1 if study.direction.name == "MINIMIZE" else -1))
            if trial.state.is_finished():
                self._ended[trial._trial_id] = known
        return known


def _rank(trial: FrozenTrial, *, sign: int) -> tuple[int, float, float] | None:
    if trial.state is TrialState.COMPLETE:
        return 0, sign * (trial.value or 0.0), 0.0
    if trial.state is not TrialState.PRUNED:
        return None
    if not trial.intermediate_values:
        return 2, 0.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, math.inf if math.isnan(value) else sign * value


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
