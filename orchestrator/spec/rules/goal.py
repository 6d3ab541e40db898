"""The goal of a search: its metrics and constraints, and which samplers and rules can pursue it."""

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import Constraint, Goal, goal
from orchestrator.core.sweeps.policy import SamplerName, SamplerPolicy, StoppingName, StoppingPolicy
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.spec.document.problems import Problems
from orchestrator.spec.document.suggest import one_of
from orchestrator.spec.sections.sweep_file import EarlyStopping, SweepFile

_GAPS = ("loss", "accuracy")
FORGETTING = ("forgetting/loss", "forgetting/similarity")
"""Metrics on general text: the first of a causal model, the second of any other."""
_CANNOT = {
    SamplerName.SURROGATE: "models one metric",
    SamplerName.CMAES: "optimises one metric without constraints",
}


def read_goal(file: SweepFile, metric: Metric, facts: ObjectiveFacts, problems: Problems) -> Metric:
    """Return the metric of the file with its further metrics and its constraints.

    Args:
        file: the sweep file.
        metric: the first metric, from ``checks.read_metric``.
        facts: the objective's metrics.
        problems: receives unknown names.
    """
    _check_file(file, problems)
    values = {f"val/{name}": direction for name, direction in facts.metrics.items()}
    gaps = {f"gap/{name}": Direction.MINIMIZE for name in _GAPS if name in _without_answers(file, facts)}
    at_end = measured_early(file, facts)
    also = []
    for place, name in enumerate(file.search.metrics[1:], start=1):
        known: Mapping[str, Direction] = values | gaps | at_end
        if name not in known and facts.complete:
            problems.add(("search", "metrics", place), one_of(name, list(known)))
        also.append(Metric(name=name, direction=known.get(name, Direction.MINIMIZE)))
    limited = [*_reported(file, facts), *at_end]
    for name in file.search.constraints:
        if name not in limited and facts.complete:
            problems.add(("search", "constraints", name), one_of(name, limited), at_key=True)
    constraints = (Constraint(name=name, min=each.min, max=each.max) for name, each in file.search.constraints.items())
    return goal(metric, also, constraints)


def check_limits(file: SweepFile, facts: ObjectiveFacts, problems: Problems) -> None:
    """Check the names of the metrics that end a trial."""
    if not isinstance(file.early_stopping, EarlyStopping) or not facts.complete:
        return
    known = [*_reported(file, facts), *measured_early(file, facts)]
    for name in file.early_stopping.limits:
        if name not in known:
            problems.add(("early_stopping", "limits", name), one_of(name, known), at_key=True)


def _without_answers(file: SweepFile, facts: ObjectiveFacts) -> list[str]:
    """Return the metrics measured on training rows and shift sets, without a split.

    A function reports its own metrics alone; answers are not written for these rows.
    """
    return [] if file.function else [name for name in facts.metrics if name not in facts.generated]


def _reported(file: SweepFile, facts: ObjectiveFacts) -> list[str]:
    """Return the names of the metrics in every report."""
    measured = _without_answers(file, facts)
    gaps = (f"gap/{name}" for name in _GAPS if name in measured)
    return [*(f"val/{name}" for name in facts.metrics), *(f"train/{name}" for name in measured), *gaps]


def measured_early(file: SweepFile, facts: ObjectiveFacts) -> dict[str, Direction]:
    """Return the metrics of the shift sets and of forgetting: of the end of a trial, and of reports if needed there.

    A function has none.
    """
    if file.function:
        return {}
    measured = _without_answers(file, facts)
    shift = {f"shift/{name}/{each}": facts.metrics[each] for name in file.data.shift for each in measured}
    return shift | dict.fromkeys(FORGETTING, Direction.MINIMIZE)


def names_forgetting(file: SweepFile) -> bool:
    """Return whether the search or early stopping needs a metric of forgetting."""
    stopping = file.early_stopping
    early = (*stopping.limits, stopping.metric) if isinstance(stopping, EarlyStopping) else ()
    return any(name in FORGETTING for name in (*file.search.metrics, *file.search.constraints, *early))


def sampler_for(policy: SamplerPolicy, file: SweepFile, metric: Metric | None, problems: Problems) -> SamplerPolicy:
    """Return the sampler: by default TPE for several metrics. One that cannot pursue the goal is a problem."""
    if not isinstance(metric, Goal) or (len(metric.metrics) == 1 and policy.name is SamplerName.SURROGATE):
        return policy
    if "sampler" not in file.search.model_fields_set:
        return replace(policy, name=SamplerName.TPE)
    why = _CANNOT.get(policy.name)
    if why is not None:
        able = "tpe, gp, nsgaii, random, qmc or grid"
        able = able if len(metric.metrics) > 1 else f"surrogate, {able}"
        problems.add(("search", "sampler"), f"{policy.name} {why}; {able} is needed here")
    return policy


def stopping_for(policy: StoppingPolicy, file: SweepFile, metric: Metric | None, problems: Problems) -> StoppingPolicy:
    """Return the stopping policy; several metrics allow no rule, because a stopped trial has a smaller gap."""
    if metric is None or len(metric.metrics) == 1 or policy.rule is StoppingName.NONE:
        return policy
    written = file.early_stopping
    chosen = "early_stopping" in file.model_fields_set
    if chosen and (not isinstance(written, EarlyStopping) or "rule" in written.model_fields_set):
        key = ("early_stopping", "rule") if isinstance(written, EarlyStopping) else ("early_stopping",)
        problems.add(
            key,
            f"{policy.rule} compares trials by one metric, and a trial stopped early looks better by another, such as "
            "gap/loss; none is needed with search.metrics",
        )
    return replace(policy, rule=StoppingName.NONE)


def _check_file(file: SweepFile, problems: Problems) -> None:
    """Check the keys beside the metrics and constraints."""
    if len(file.search.metrics) == 1:
        problems.add(("search", "metrics"), "two names or more are needed; write one as search.metric")
    if file.search.metrics and file.search.metric is not None:
        problems.add(("search", "metric"), "stands beside search.metrics; keep one of them", at_key=True)
    if (file.search.metrics or file.search.constraints) and file.budget.until is not None:
        message = f"{file.budget.until} needs one metric without constraints; remove it"
        problems.add(("budget", "until"), message, at_key=True)
