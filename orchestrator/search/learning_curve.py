"""Trainings of the winner's configuration on shares of its training rows: which, and their seeds.

They show whether more rows would help. The search never sees them.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from orchestrator.core.seeds import derive_seed
from orchestrator.core.sweeps.policy import CURVE_SHARES
from orchestrator.core.trials.ranking import ranked_by_result
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.search.confirmation import FreshTraining
from orchestrator.search.plan import SearchPlan


def next_on_curve(plan: SearchPlan, records: Collection[TrialRecord]) -> FreshTraining | None:
    """Return the next training for the learning curve; None if none is missing, or other trials still run.

    The winner is the first of the order by the values of the search and of its confirmation, shift sets included. Later
    measurements do not change these values, so a resumed sweep has the same winner. The trainings with one number have
    the same seed on all shares: the rows of a smaller share are a part of those of a larger one, and all start from the
    same adapter.

    Args:
        plan: the search, with the number of trainings of each share.
        records: all trials of the sweep; the caller has made sure that no other training is to come.
    """
    if plan.learning_curve is None:
        return None
    others = [record for record in records if record.share is None]
    if not all(record.ended for record in others):
        return None
    usable = [
        replace(record, final={name: value for name, value in record.final.items() if name.startswith("shift/")})
        for record in others
        if record.confirms is not None or record.state is not TrialState.FAIL
    ]
    winner = next(iter(ranked_by_result(usable, plan.metric)), None)
    if winner is None:
        return None
    done = Counter(record.share for record in records if record.confirms == winner.number)
    share = min(CURVE_SHARES, key=lambda share: done[share])
    if done[share] >= plan.learning_curve:
        return None
    seed = derive_seed(plan.seed, "learning curve", winner.number, done[share])
    return FreshTraining(leader=winner, seed=seed, share=share)


def learning_curve_text(plan: SearchPlan) -> str | None:
    """Return the planned trainings in words, with their cost in training samples; None without a learning curve."""
    if plan.learning_curve is None:
        return None
    count, each = len(CURVE_SHARES) * plan.learning_curve, plan.timetable.points[-1]
    limited = plan.budget.wall_time_s is not None or plan.budget.tokens is not None
    allowed = ", if the limits of time and tokens allow" if limited else ""
    shares = ", ".join(f"{100 * share:g}" for share in CURVE_SHARES)
    return (
        f"the winner's configuration is trained {plan.learning_curve} times on each of {shares} % of the rows, after "
        f"the search: {count} x {each:,} = {count * each:,} samples{allowed}"
    )
