"""Sentences on a search with several metrics or with constraints: the Pareto front, and the trials within."""

from collections.abc import Collection, Sequence

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.trials.confirmed import confirmed
from orchestrator.core.trials.ranking import front, ranked_by_result
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.report import words

_MOST = 8
"""Most trials named in a sentence."""


def goal_lines(records: Sequence[TrialRecord], metric: Metric) -> list[tuple[str, str]]:
    """Return pairs of a name and a sentence; none for one metric without constraints."""
    if not isinstance(metric, Goal):
        return []
    ranked, lines = ranked_by_result(records, metric), []
    if metric.constraints:
        lines.append(("constraints", _constraints(ranked, metric)))
    if metric.also and ranked:
        lines.append(("front", _front(ranked, metric, confirmed(records))))
    return lines


def _constraints(ranked: Sequence[TrialRecord], metric: Goal) -> str:
    names = ", ".join(map(str, metric.constraints))
    kept = [trial for trial in ranked if trial.violation(metric, newest=True) == 0]
    if kept or not ranked:
        return f"{len(kept)} of {len(ranked)} trials satisfy {names}"
    return (
        f"NO trial satisfies {names}: trial {ranked[0].number} violates it least. Widen search.space, or relax "
        "search.constraints"
    )


def _front(ranked: Sequence[TrialRecord], metric: Goal, fresh: Collection[int]) -> str:
    members = front(ranked, metric)
    names = ", ".join(each.name for each in metric.metrics)
    on_front = [trial for trial in ranked if trial.number in members]
    if not on_front:
        return f"no trial is on the Pareto front of {names}, because none satisfies the constraints"
    texts = [f"trial {trial.number} ({_values(trial, metric)})" for trial in on_front[:_MOST]]
    more = f" and {len(on_front) - _MOST} more" if len(on_front) > _MOST else ""
    winner = ranked[0].number
    why = "after its confirmation with fresh seeds" if winner in fresh else f"the best {metric.name}"
    return (
        f"{len(on_front)} of {len(ranked)} trials are on the Pareto front of {names}: {', '.join(texts)}{more}. Trial "
        f"{winner} is preferred: {why}. To prefer another metric, write it first in "
        "search.metrics"
    )


def _values(trial: TrialRecord, metric: Goal) -> str:
    measured = trial.at_best(metric)
    return ", ".join(words.number(measured.get(each.name), 3) for each in metric.metrics)
