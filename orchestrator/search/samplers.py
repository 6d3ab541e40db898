"""Optuna's samplers by the names of the sweep file, sized to the sweep and seeded per proposal.

A sampler is built anew for every proposal. Its random state is not part of the study, so its seed comes from the
sweep's seed and the proposal's number there, and a resumed sweep proposes what it would have proposed uninterrupted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from orchestrator.core.errors import UserError
from orchestrator.core.grid import MOST_POINTS, endless
from orchestrator.core.policy import SamplerName, SamplerPolicy
from orchestrator.core.seeds import derive_seed
from orchestrator.core.space import ParamValue, Space
from orchestrator.search.memory import kinds, remembered
from orchestrator.search.space import distributions


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What a sampler is built from.

    Attributes:
        space: the search space.
        policy: the sampler's name and sizes.
        trials: trials that the sweep may have in all; None if only time or tokens bound it.
        seed: the sweep's seed.
        unseen: a point that no trial has had, if the space can be counted and one is left.
        ended: of the trials that ended, those that TPE looks at.
        number: the proposal's number in the study, from 0; known once it was asked for.
        parameter: the parameter that is drawn by itself; empty for those drawn together.
    """

    space: Space
    policy: SamplerPolicy
    trials: int | None
    seed: int
    unseen: Mapping[str, ParamValue] | None = None
    ended: Sequence[FrozenTrial] = ()
    number: int = 0
    parameter: str = ""

    @property
    def startup_trials(self) -> int:
        """Random trials before a model is trusted: a third of the sweep, within 3 and 10."""
        if self.policy.startup_trials is not None:
            return self.policy.startup_trials
        return 10 if self.trials is None else min(10, max(3, self.trials // 3))

    @property
    def population(self) -> int:
        """Trials of one generation: a quarter of the sweep, within 4 and 50."""
        if self.policy.population is not None:
            return self.policy.population
        return 50 if self.trials is None else min(50, max(4, self.trials // 4))

    @property
    def own_seed(self) -> int:
        """Seed of this proposal, or of one parameter's draw, alone."""
        return derive_seed(self.seed, "sampler", self.number, self.parameter)


def build_sampler(proposal: Proposal) -> BaseSampler:
    """Return the sampler that makes one proposal.

    Raises:
        UserError: a grid over a space that cannot be counted.
    """
    if proposal.policy.name is SamplerName.GRID:
        _require_countable(proposal)
    return _Replayable(proposal, _BUILDERS[proposal.policy.name])


class _Replayable(BaseSampler):
    """A sampler whose draws for one parameter do not depend on which others were drawn before it.

    A proposal that was interrupted has some parameters in the study already; the others come out as they would have.
    """

    def __init__(self, proposal: Proposal, build: Callable[[Proposal], BaseSampler]) -> None:
        self._proposal = proposal
        self._build = build

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Build the sampler for this trial, and let it make its notes in the study."""
        self._proposal = replace(self._proposal, number=trial.number)
        self._together = self._build(self._proposal)
        self._together.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are drawn together."""
        return dict(self._together.infer_relative_search_space(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw them."""
        return dict(self._together.sample_relative(study, trial, search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401
        """Draw one parameter from a sampler, and so from a seed, of its own."""
        alone = self._build(replace(self._proposal, parameter=param_name))
        return alone.sample_independent(study, trial, param_name, param_distribution)


def _require_countable(proposal: Proposal) -> None:
    names = ", ".join(endless(proposal.space))
    if names:
        raise UserError(f"search.sampler grid: every parameter needs choices or a step; without: {names}")
    if proposal.unseen is None:
        raise UserError(f"search.sampler grid: a grid may have {MOST_POINTS} points; this one has more")


def _random(proposal: Proposal) -> BaseSampler:
    return RandomSampler(seed=proposal.own_seed)


def _gp(proposal: Proposal) -> BaseSampler:
    return GPSampler(n_startup_trials=proposal.startup_trials, warn_independent_sampling=False, seed=proposal.own_seed)


def _nsgaii(proposal: Proposal) -> BaseSampler:
    return NSGAIISampler(population_size=proposal.population, seed=proposal.own_seed)


class _Tpe(TPESampler):
    """TPE over the best and the newest trials, for it walks through all it sees several times a proposal."""

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(
            multivariate=True,
            group=True,  # splits conditional parameters off, so that the others are still modelled together
            constant_liar=True,
            n_startup_trials=proposal.startup_trials,
            seed=proposal.own_seed,
        )
        self._ended = proposal.ended

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are drawn together."""
        return dict(super().infer_relative_search_space(remembered(study, kinds(self._ended)), trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw them."""
        return dict(super().sample_relative(remembered(study, self._ended), trial, search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401
        """Draw one that is not."""
        return super().sample_independent(remembered(study, self._ended), trial, param_name, param_distribution)


class _CmaEs(CmaEsSampler):
    """CMA-ES over the numbers that are always active; choices and conditional parameters are drawn at random.

    Optuna looks for those in the completed trials alone, and then fails on a pruned trial that lacks one.
    """

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(
            n_startup_trials=proposal.startup_trials,
            popsize=proposal.policy.population,
            consider_pruned_trials=True,  # a sweep that stops most trials early would never fill a generation
            warn_independent_sampling=False,
            seed=proposal.own_seed,
        )
        always = {parameter.name for parameter in proposal.space.parameters if not parameter.when}
        self._numbers = {
            name: distribution
            for name, distribution in distributions(proposal.space).items()
            if name in always and not distribution.single() and not isinstance(distribution, CategoricalDistribution)
        }

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return the numeric parameters without conditions."""
        return self._numbers


class _Sequence(QMCSampler):
    """One scrambled Sobol' sequence for the whole sweep; a proposal's place in it is its number.

    Optuna keeps the place in the study, where an interrupted proposal uses one up, and takes the space from the first
    finished trial, which leaves out what was not active there.
    """

    def __init__(self, proposal: Proposal) -> None:
        scramble_seed = derive_seed(proposal.seed, "sampler", "scramble")
        super().__init__(scramble=True, seed=scramble_seed, warn_independent_sampling=False)
        self._proposal = proposal

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return the whole space."""
        return distributions(self._proposal.space)

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:  # noqa: ARG002
        return self._proposal.number


class _Grid(RandomSampler):
    """The next point that no trial has had.

    Optuna's own grid knows no conditions, and raises under ask and tell when it has come to its end.
    """

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(seed=proposal.own_seed)
        assert proposal.unseen is not None, "a grid that was not counted"
        self._point = proposal.unseen
        self._space = distributions(proposal.space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return the whole space."""
        return self._space

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Return the point, without what is fixed."""
        return {name: value for name, value in self._point.items() if name in search_space}


_BUILDERS: dict[SamplerName, Callable[[Proposal], BaseSampler]] = {
    SamplerName.TPE: _Tpe,
    SamplerName.RANDOM: _random,
    SamplerName.GRID: _Grid,
    SamplerName.QMC: _Sequence,
    SamplerName.GP: _gp,
    SamplerName.CMAES: _CmaEs,
    SamplerName.NSGAII: _nsgaii,
}
