"""The trials of a sweep as observations of the surrogate."""

import math
from collections.abc import Sequence

from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.search.plan import SearchPlan
from orchestrator.search.surrogate.feasibility import expected_excesses
from orchestrator.search.surrogate.finals import Curves
from orchestrator.search.surrogate.model import Observation


def observations(plan: SearchPlan, records: Sequence[TrialRecord]) -> list[Observation]:
    """Return every trial with its expected final cost and excesses. A failed trial counts as the worst one."""
    curves = Curves(
        metric=plan.metric,
        compared=plan.stopping.metric or plan.metric,
        end=plan.timetable.points[-1],
        records=records,
    )
    expected = {one.trial: one for one in curves.expected_finals()}
    excesses = expected_excesses(plan.metric, records) if isinstance(plan.metric, Goal) else {}
    observed = []
    for record in records:
        final = expected.get(record.number)
        if final is None:
            cost, variance = math.inf if record.state is TrialState.FAIL else math.nan, 0.0
        else:
            cost, variance = final.cost, final.variance
        observed.append(
            Observation(
                point=record.params, cost=cost, variance=variance, excesses=tuple(excesses.get(record.number, ()))
            )
        )
    return observed
