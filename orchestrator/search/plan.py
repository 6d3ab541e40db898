"""The settings of a search: plain values, the same for the whole sweep."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.sweeps.policy import Budget, Confirm, Confirmation, SamplerPolicy, StoppingPolicy
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.timetable import Timetable


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPlan:
    """One sweep's search.

    Attributes:
        space: the search space.
        metric: the metric to optimise.
        timetable: when trials report.
        budget: the limits of the sweep; they may grow between two runs of the command.
        sampler: the sampler's name and sizes.
        stopping: the early stopping rule.
        fixed: settings with one value in all trials.
        free: whether the parameters are those of a function, with any names.
        start_points: points tried first, complete or partial; the sampler chooses the missing values.
        candidates: the points of the space open to trials; the nearest untried one replaces each proposal, start points
            included. None: the whole space.
        confirm: which trials are trained again after the search.
        keep_adapters: number of trials whose adapters are kept; ``confirm: auto`` chooses among these.
        learning_curve: trainings of the winner's configuration on each share of its rows; None: no learning curve.
        seed: the sweep's seed; every trial's seed derives from it.
    """

    space: Space
    metric: Metric
    timetable: Timetable
    budget: Budget
    sampler: SamplerPolicy = field(default_factory=SamplerPolicy)
    stopping: StoppingPolicy = field(default_factory=StoppingPolicy)
    fixed: Mapping[str, ParamValue] = field(default_factory=dict)
    start_points: tuple[Mapping[str, ParamValue], ...] = ()
    candidates: tuple[Mapping[str, ParamValue], ...] | None = None
    confirm: Confirmation | Confirm = Confirm.NONE
    keep_adapters: int = 3
    learning_curve: int | None = None
    seed: int = 0
    free: bool = False

    def settings(self, params: Mapping[str, ParamValue]) -> TrialSettings:
        """Return the settings of a trial with these values of the space."""
        values = {**self.fixed, **params}
        return TrialSettings(values=values) if self.free else TrialSettings.from_params(values)
