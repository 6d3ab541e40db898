"""The samplers by their names in the sweep file, sized to the sweep and seeded per proposal.

Every proposal builds a new sampler. The study does not store a sampler's random state, so its seed derives from the
sweep's seed and the proposal's number: a resumed sweep makes the same proposals as an uninterrupted one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from optuna.distributions import BaseDistribution, CategoricalChoiceType, CategoricalDistribution
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
from typing_extensions import override

from orchestrator.core.errors import UserError
from orchestrator.core.grid import MOST_POINTS, endless
from orchestrator.core.seeds import derive_seed
from orchestrator.core.space import Choices, Constant, Parameter, ParamValue, Space
from orchestrator.core.sweeps.policy import SamplerName, SamplerPolicy
from orchestrator.search.space import distributions
from orchestrator.search.study_views import one_per_parameter_set, with_ended, without_trial
from orchestrator.search.surrogate.encoding import Encoding
from orchestrator.search.surrogate.model import Observation, best_point, drawn_point

START_POINT = "point"
"""User attribute of a trial with the values of its start point; only with candidates."""

FEWEST_OBSERVATIONS = 2
"""Trials with a cost before the surrogate's first fit."""

NearestCandidate: TypeAlias = Callable[[Mapping[str, ParamValue]], Mapping[str, ParamValue]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """The inputs of a sampler for one proposal.

    Attributes:
        space: the search space.
        policy: the sampler's name and sizes.
        trials: the sweep's budget of trials; None if only time or tokens limit it.
        seed: the sweep's seed.
        unseen: an untried point of a finite space; None if there is none.
        ended: the ended trials given to TPE.
        observations: the trials given to the surrogate.
        snap: returns the nearest untried candidate to a point; None: without candidates.
        number: the proposal's number in the study, from 0.
        parameter: the parameter sampled independently; empty for joint sampling.
    """

    space: Space
    policy: SamplerPolicy
    trials: int | None
    seed: int
    unseen: Mapping[str, ParamValue] | None = None
    ended: Sequence[FrozenTrial] = ()
    observations: Sequence[Observation] = ()
    snap: NearestCandidate | None = None
    number: int = 0
    parameter: str = ""

    @property
    def startup_trials(self) -> int:
        """Trials before the first model-based proposal: a third of the sweep, between 3 and 10."""
        if self.policy.startup_trials is not None:
            return self.policy.startup_trials
        return 10 if self.trials is None else min(10, max(3, self.trials // 3))

    @property
    def population(self) -> int:
        """Trials of one generation: a quarter of the sweep, between 4 and 50."""
        if self.policy.population is not None:
            return self.policy.population
        return 50 if self.trials is None else min(50, max(4, self.trials // 4))

    @property
    def own_seed(self) -> int:
        """The seed of this proposal, or of the sampling of ``parameter``."""
        return derive_seed(self.seed, "sampler", self.number, self.parameter)


def build_sampler(proposal: Proposal) -> BaseSampler:
    """Return the sampler for one proposal.

    Raises:
        UserError: a grid over an infinite or too large space.
    """
    if proposal.policy.name is SamplerName.GRID:
        _require_countable(proposal)
    return _Replayable(proposal, _BUILDERS[proposal.policy.name])


class _Replayable(BaseSampler):
    """Samples each parameter independently of the parameters sampled before it.

    An interrupted proposal has some values in the study; the missing ones get the same values as without interruption.

    With candidates it samples the whole point first, and passes the nearest untried candidate to Optuna. So the study
    holds the candidate's values as the trial's own.
    """

    def __init__(self, proposal: Proposal, build: Callable[[Proposal], BaseSampler]) -> None:
        self._proposal = proposal
        self._build = build

    @override
    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Build the sampler for this trial, and let it write its attributes to the study."""
        self._proposal = replace(self._proposal, number=trial.number)
        self._joint = self._build(self._proposal)
        self._joint.before_trial(study, trial)

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the jointly sampled parameters; with candidates all parameters."""
        self._jointly = dict(self._joint.infer_relative_search_space(study, trial))
        return self._jointly if self._proposal.snap is None else distributions(self._proposal.space)

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample them; with candidates return the nearest untried one."""
        values = dict(self._joint.sample_relative(study, trial, self._jointly))
        if self._proposal.snap is None:
            return values
        values |= trial.user_attrs.get(START_POINT, {})
        point: dict[str, ParamValue] = {}
        for parameter in self._proposal.space.parameters:
            if parameter.is_active(point):
                point[parameter.name] = self._value(study, trial, parameter, values)
        return {name: value for name, value in self._proposal.snap(point).items() if name in search_space}

    @override
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> CategoricalChoiceType:
        """Sample one parameter from a sampler of its own, with its own seed."""
        sampler = self._build(replace(self._proposal, parameter=param_name))
        value: CategoricalChoiceType = sampler.sample_independent(study, trial, param_name, param_distribution)
        return value

    def _value(
        self, study: Study, trial: FrozenTrial, parameter: Parameter, values: Mapping[str, ParamValue]
    ) -> ParamValue:
        """Return a parameter's value: one of ``values``, its only possible value, or a sampled one."""
        distribution = parameter.distribution
        if isinstance(distribution, Constant):
            return distribution.value
        if parameter.name in values:
            return values[parameter.name]
        theirs = distributions(self._proposal.space)[parameter.name]
        if theirs.single():
            return distribution.choices[0] if isinstance(distribution, Choices) else distribution.low
        return self.sample_independent(study, trial, parameter.name, theirs)


def _require_countable(proposal: Proposal) -> None:
    if proposal.unseen is not None:
        return
    names = ", ".join(endless(proposal.space))
    if names:
        raise UserError(f"search.sampler grid: every parameter needs choices or a step; without: {names}")
    raise UserError(f"search.sampler grid: a grid may have {MOST_POINTS} points; this one has more")


def _random(proposal: Proposal) -> BaseSampler:
    return RandomSampler(seed=proposal.own_seed)


def _nsgaii(proposal: Proposal) -> BaseSampler:
    return NSGAIISampler(population_size=proposal.population, seed=proposal.own_seed)


class _WholePoint(RandomSampler):
    """Samples all parameters at once, as one point of the space."""

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(seed=proposal.own_seed)
        self._proposal = proposal
        self._space = distributions(proposal.space)

    def _point(self, trial: FrozenTrial) -> Mapping[str, ParamValue]:
        """Return the point, constants included."""
        raise NotImplementedError

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return self._space

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point without its constants."""
        return {name: value for name, value in self._point(trial).items() if name in search_space}


class _Surrogate(_WholePoint):
    """The untried point with the largest expected improvement; first the points of a Sobol' sequence.

    The values of a start point stay fixed; the missing ones come from the sequence or from the model.
    """

    @override
    def _point(self, trial: FrozenTrial) -> Mapping[str, ParamValue]:
        proposal, encoding = self._proposal, Encoding(self._proposal.space)
        fixed = {**trial.system_attrs.get("fixed_params", {}), **trial.user_attrs.get(START_POINT, {})}
        known = [one for one in proposal.observations if one.is_known]
        if len(proposal.observations) < proposal.startup_trials or len(known) < FEWEST_OBSERVATIONS:
            return drawn_point(encoding, proposal.number, derive_seed(proposal.seed, "sampler", "scramble"), fixed)
        return best_point(encoding, proposal.observations, proposal.own_seed, fixed).point


class _Tpe(TPESampler):
    """TPE over the best and the newest trials: it reads all trials several times per proposal."""

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(
            multivariate=True,
            group=True,  # separates conditional parameters; the others keep a joint model
            constant_liar=True,
            n_startup_trials=proposal.startup_trials,
            seed=proposal.own_seed,
        )
        self._ended = proposal.ended

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the jointly sampled parameters."""
        return dict(super().infer_relative_search_space(with_ended(study, one_per_parameter_set(self._ended)), trial))

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample them."""
        return dict(super().sample_relative(with_ended(study, self._ended), trial, search_space))

    @override
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> CategoricalChoiceType:
        """Sample one parameter independently."""
        seen = with_ended(study, self._ended)
        value: CategoricalChoiceType = super().sample_independent(seen, trial, param_name, param_distribution)
        return value


class _Gp(GPSampler):
    """A Gaussian process.

    Optuna stores the jointly sampled values in the study before the trial gets them. After an interruption between the
    two it would count the interrupted trial as another trial running at these values.
    """

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(
            n_startup_trials=proposal.startup_trials, warn_independent_sampling=False, seed=proposal.own_seed
        )

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample the jointly sampled parameters."""
        return super().sample_relative(without_trial(study, trial.number), trial, search_space)


class _CmaEs(CmaEsSampler):
    """CMA-ES over the unconditional numbers; choices and conditional parameters are sampled at random.

    Optuna derives the numbers from completed trials only, and then fails on a pruned trial without one of them.
    """

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(
            n_startup_trials=proposal.startup_trials,
            popsize=proposal.policy.population,
            consider_pruned_trials=True,  # early stopping leaves too few completed trials for a generation
            warn_independent_sampling=False,
            seed=proposal.own_seed,
        )
        always = {parameter.name for parameter in proposal.space.parameters if not parameter.when}
        self._numbers = {
            name: distribution
            for name, distribution in distributions(proposal.space).items()
            if name in always and not distribution.single() and not isinstance(distribution, CategoricalDistribution)
        }

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the numeric parameters without conditions."""
        return self._numbers


class _Sequence(QMCSampler):
    """One scrambled Sobol' sequence for the whole sweep, indexed by the proposal's number.

    Optuna stores the index in the study, where an interrupted proposal uses one up. It takes the space from the first
    finished trial, without the parameters inactive in it.
    """

    def __init__(self, proposal: Proposal) -> None:
        scramble_seed = derive_seed(proposal.seed, "sampler", "scramble")
        super().__init__(scramble=True, seed=scramble_seed, warn_independent_sampling=False)
        self._proposal = proposal

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return distributions(self._proposal.space)

    @override
    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._proposal.number


class _Grid(_WholePoint):
    """The next untried point.

    Optuna's own grid ignores conditions, and raises at its end under ask and tell.
    """

    @override
    def _point(self, trial: FrozenTrial) -> Mapping[str, ParamValue]:
        assert self._proposal.unseen is not None, "the grid's points are not counted"
        return self._proposal.unseen


_BUILDERS: dict[SamplerName, Callable[[Proposal], BaseSampler]] = {
    SamplerName.SURROGATE: _Surrogate,
    SamplerName.TPE: _Tpe,
    SamplerName.RANDOM: _random,
    SamplerName.GRID: _Grid,
    SamplerName.QMC: _Sequence,
    SamplerName.GP: _Gp,
    SamplerName.CMAES: _CmaEs,
    SamplerName.NSGAII: _nsgaii,
}
