"""Output of ``sweep --dry-run``."""

import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from orchestrator.core import deepspeed
from orchestrator.preparation.preview import SweepPlan
from orchestrator.report import words
from orchestrator.report.data_text import data_lines
from orchestrator.report.fitting_table import plain_table
from orchestrator.report.pace import Pace
from orchestrator.spec.sweep_spec import SweepSpec

_COST_SCOPES = {"trial_tokens": "per trial", "sweep_tokens": "in the sweep"}


def plan_text(spec: SweepSpec, plan: SweepPlan, pace: Pace | None = None) -> Group:
    """Return the plan for a terminal: search space, data, rungs, engine and cost; with ``pace`` the time too."""
    space = plain_table()
    for head in ("parameter", "values", "active if"):
        space.add_column(head)
    for row in plan.space:
        space.add_row(*row)
    facts = Table.grid(padding=(0, 3))
    for name, text in _facts(spec, plan) + _time(spec, plan, pace):
        facts.add_row(Text(name, style="dim"), Text(text))
    return Group(Text(f"{spec.name}: plan", style="bold"), space, facts)


def _facts(spec: SweepSpec, plan: SweepPlan) -> list[tuple[str, str]]:
    budget = spec.budget
    bounds = [f"{budget.trials} trials"] if budget.trials else []
    bounds += [words.duration(budget.wall_time_s)] if budget.wall_time_s else []
    bounds += [f"{words.count(budget.tokens)} tokens"] if budget.tokens else []
    costs = [f"{value:,.0f} tokens {_COST_SCOPES[name]}" for name, value in plan.cost.items()]
    base = f"{spec.model} in {spec.quantisation}" if spec.quantisation else str(spec.model)
    points, rungs = (" · ".join(map(words.count, values)) for values in (plan.report_points, plan.rungs))
    return [
        ("metric", f"{spec.metric.name}, {spec.metric.direction}"),
        ("objective", f"{spec.objective} on {base}, data {spec.data.source}"),
        *data_lines(plan.rows, plan.data_summary),
        ("sampler", plan.sampler + (f", start points: {len(spec.start_points)}" if spec.start_points else "")),
        ("report points", f"{points} samples"),
        *_ends(plan),
        (
            "stopping",
            plan.stopping if plan.stopping == "none" else f"{plan.stopping}, by {plan.compared} at {rungs} samples",
        ),
        ("engine", _engine(spec, plan)),
        *(("solo engine", reason) for reason in plan.alone),
        ("parallel trials", _parallel_trials(plan)),
        ("budget", ", ".join(bounds) + (", whichever is reached first" if len(bounds) > 1 else "")),
        ("cost", f"at most about {', '.join(costs)} (estimate: four characters per token)"),
        *(("note", note) for note in plan.notes),
    ]


def _parallel_trials(plan: SweepPlan) -> str:
    why = plan.why or "set by resources.parallel_trials"
    return f"{plan.parallel_trials}: {why}" if plan.engine == "packed" else str(plan.parallel_trials)


def _ends(plan: SweepPlan) -> list[tuple[str, str]]:
    """Return the range of training samples of unpruned trials, if it depends on their epochs."""
    first, last = words.count(plan.ends[0]), words.count(plan.ends[-1])
    return [] if first == last else [("full length", f"{first} to {last} samples, by the trial's epochs")]


def _time(spec: SweepSpec, plan: SweepPlan, pace: Pace | None) -> list[tuple[str, str]]:
    seconds = max_duration_s(spec, plan, pace)
    if seconds is None or pace is None:
        return []
    return [("time", f"≤ {words.duration(seconds)} at the speed of {pace.sweep} ({pace.rows_per_s:,.1f} rows/s)")]


def max_duration_s(spec: SweepSpec, plan: SweepPlan, pace: Pace | None) -> float | None:
    """Return the wall time in seconds if no trial is pruned; None without a pace or a number of trials."""
    if pace is None or spec.budget.trials is None:
        return None
    return min(spec.budget.trials * plan.report_points[-1] / pace.rows_per_s, spec.budget.wall_time_s or math.inf)


def _engine(spec: SweepSpec, plan: SweepPlan) -> str:
    if plan.engine == "packed":
        return "packed: trials train together over one base model"
    solo = (
        f"solo, one trial at a time: {plan.why}" if spec.resources.engine == "packed" else "solo: one process per trial"
    )
    return solo if spec.deepspeed is None else f"{solo}; DeepSpeed with {deepspeed.summary(spec.deepspeed)}"
