"""What a search is built from: plain values, the same for the whole sweep."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.metric import Metric
from orchestrator.core.policy import Budget, SamplerPolicy, StoppingPolicy
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.timetable import Timetable


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPlan:
    """One sweep's search.

    Attributes:
        space: what is searched.
        metric: what is searched for.
        timetable: when trials report.
        budget: what the sweep may spend; it may grow from one run of the sweep to the next.
        sampler: who proposes.
        stopping: what stops trials early.
        fixed: settings that no trial varies.
        start_points: points that are tried first, whole or in part; the sampler fills in the rest.
        seed: the sweep's seed, from which every trial's own is derived.
    """

    space: Space
    metric: Metric
    timetable: Timetable
    budget: Budget
    sampler: SamplerPolicy = field(default_factory=SamplerPolicy)
    stopping: StoppingPolicy = field(default_factory=StoppingPolicy)
    fixed: Mapping[str, ParamValue] = field(default_factory=dict)
    start_points: tuple[Mapping[str, ParamValue], ...] = ()
    seed: int = 0
