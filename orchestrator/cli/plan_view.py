"""Output of ``sweep --dry-run``."""

import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from orchestrator.preparation.preview import SweepPlan
from orchestrator.report import words
from orchestrator.report.data_text import data_lines
from orchestrator.report.fitting_table import plain_table
from orchestrator.report.pace import Pace

_COST_SCOPES = {"trial_tokens": "per trial", "sweep_tokens": "in the sweep"}


def plan_text(plan: SweepPlan, pace: Pace | None = None) -> Group:
    """Return the plan for a terminal: search space, data, rungs, engine and cost; with ``pace`` the time too."""
    space = plain_table()
    for head in ("parameter", "values", "active if"):
        space.add_column(head)
    for row in plan.space:
        space.add_row(*row)
    facts = Table.grid(padding=(0, 3))
    for name, text in _facts(plan) + _time(plan, pace):
        facts.add_row(Text(name, style="dim"), Text(text))
    return Group(Text(f"{plan.name}: plan", style="bold"), space, facts)


def _facts(plan: SweepPlan) -> list[tuple[str, str]]:
    budget = plan.budget
    bounds = [f"{budget.trials} trials"] if budget.trials else []
    bounds += [words.duration(budget.wall_time_s)] if budget.wall_time_s else []
    bounds += [f"{words.count(budget.tokens)} tokens"] if budget.tokens else []
    costs = [f"{value:,.0f} tokens {_COST_SCOPES[name]}" for name, value in plan.cost.items()]
    points = " · ".join(map(words.count, plan.report_points))
    return [
        ("metric", "; ".join(f"{each.name}, {each.direction}" for each in plan.metric.metrics)),
        *(("constraint", str(each)) for each in getattr(plan.metric, "constraints", ())),
        ("objective", _objective(plan)),
        *data_lines(plan.rows, plan.data_summary),
        ("sampler", plan.sampler + (f", start points: {plan.start_points}" if plan.start_points else "")),
        ("prior", plan.prior),
        ("trial length", plan.length),
        *_ends(plan),
        ("report points", f"{points} samples"),
        ("stopping", _stopping(plan)),
        ("engine", _engine(plan)),
        *_computing(plan),
        *(("solo engine", reason) for reason in plan.alone),
        ("parallel trials", _parallel_trials(plan)),
        ("budget", ", ".join(bounds) + (", whichever is reached first" if len(bounds) > 1 else "")),
        *([("ends early", "when no further trial is expected to help")] if budget.until else []),
        *([("answers", plan.answers)] if plan.answers else []),
        *([("for early stopping", plan.early)] if plan.early else []),
        *([("tokens", plan.tokens)] if plan.tokens else []),
        ("confirmation", plan.confirm),
        *([("learning curve", plan.learning_curve)] if plan.learning_curve else []),
        *([("cost", f"at most about {', '.join(costs)} (estimate: four characters per token)")] if costs else []),
        *(("note", note) for note in plan.notes),
    ]


def _computing(plan: SweepPlan) -> list[tuple[str, str]]:
    """Return number format, attention and gradient checkpointing, each with its reason."""
    chosen = plan.computing
    if chosen is None:
        return []
    return [
        ("precision", chosen.precision),
        ("attention", chosen.attention),
        ("checkpointing", f"of activations {chosen.checkpointing}"),
    ]


def _objective(plan: SweepPlan) -> str:
    if plan.engine == "function":
        return f"{plan.objective}, which reads its model and its data itself"
    return f"{plan.objective} on {plan.model}, data {plan.data}"


def _stopping(plan: SweepPlan) -> str:
    if plan.stopping == "none":
        return plan.stopping
    rungs = " · ".join(map(words.count, plan.rungs))
    compared = f"by {plan.compared} at {rungs} samples" if plan.rungs else "but trials end before they are compared"
    return f"{plan.stopping}, {compared}; {plan.earliest_rung}"


def _parallel_trials(plan: SweepPlan) -> str:
    why = plan.why or "set by resources.parallel_trials"
    return f"{plan.parallel_trials}: {why}" if plan.engine == "packed" else str(plan.parallel_trials)


def _ends(plan: SweepPlan) -> list[tuple[str, str]]:
    """Return the range of training samples of unpruned trials, if it depends on their epochs."""
    first, last = words.count(plan.ends[0]), words.count(plan.ends[-1])
    return [] if first == last else [("full length", f"{first} to {last} samples, by the trial's epochs")]


def _time(plan: SweepPlan, pace: Pace | None) -> list[tuple[str, str]]:
    seconds = max_duration_s(plan, pace)
    if seconds is None or pace is None:
        return []
    return [("time", f"≤ {words.duration(seconds)} at the speed of {pace.sweep} ({pace.rows_per_s:,.1f} rows/s)")]


def max_duration_s(plan: SweepPlan, pace: Pace | None) -> float | None:
    """Return the wall time in seconds if no trial is pruned; None without a pace or a number of trials."""
    if pace is None or plan.budget.trials is None:
        return None
    return min(plan.budget.trials * plan.report_points[-1] / pace.rows_per_s, plan.budget.wall_time_s or math.inf)


def _engine(plan: SweepPlan) -> str:
    if plan.engine == "packed":
        return "packed: trials train together over one base model"
    if plan.engine == "function":
        return "function: one process per trial"
    solo = f"solo, one trial at a time: {plan.why}" if plan.why else "solo: one process per trial"
    if plan.workers > 1:
        return f"solo: {plan.workers} processes per trial, by {plan.deepspeed or 'FSDP2'}"
    return f"{solo}; DeepSpeed with {plan.deepspeed}" if plan.deepspeed else solo
