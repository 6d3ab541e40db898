"""This product's own search, replayed by ``orchestrator.replay`` with its real coordinator, sampler and rule."""

import bisect
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.search.simulation import SLOTS, Step, Trajectory
from benchmarks.search.task import Task
from orchestrator.core.sweeps.policy import Budget
from orchestrator.replay.replay import replay_plan, search_plan, slot_samples_per_s
from orchestrator.replay.table import TrialTable
from orchestrator.replay.task import spec_of

RUNGS_BEFORE = (600 / 15_000, 3_000 / 15_000, 8_000 / 15_000)
"""Report points of ``sweeps/sentiment.yaml`` of 27 November 2026, as parts of a trial."""


def now(table: TrialTable) -> tuple[str, ...]:
    """Return the overrides for today's defaults, at the recorded report points: a table has no early stopping."""
    return ("search.sampler={}", f"early_stopping={{reports: {len(table.points)}}}")


def before(table: TrialTable) -> tuple[str, ...]:
    """Return the overrides for the search of ``sweeps/sentiment.yaml`` of 27 November 2026.

    Each of its report points is the recorded one at or after it.
    """
    last = len(table.points) - 1
    places = [min(last, bisect.bisect_left(table.points, part * table.points[-1])) for part in RUNGS_BEFORE]
    rungs = sorted({table.points[place] for place in places})
    stopping = {
        "rule": "asha",
        "reports": rungs,
        "reduction_factor": 5,
        "grace_samples": rungs[0],
        "cohort": 5,
        "patience": 2,
        "metric": table.metric.name,
    }
    return ("search.sampler={name: tpe, startup_trials: 5}", f"early_stopping={json.dumps(stopping)}")


def run_ours(
    task: Task,
    overrides: Callable[[TrialTable], Sequence[str]],
    *,
    seed: int,
    start: bool,
    budget: int,
) -> Trajectory:
    """Return the trajectory of this product's search; see ``simulate``.

    Args:
        task: a task of a table.
        overrides: returns overrides of the table's sweep file.
        seed: the sweep's seed.
        start: keep the sweep file's start points.
        budget: training samples; the search gets them as its wall time.
    """
    table = task.table
    assert table is not None, "this product searches recorded tables only"
    plan = search_plan(table, spec_of(table, overrides(table)), seed)
    samples_per_s = SLOTS * slot_samples_per_s(table)
    plan = replace(
        plan,
        budget=Budget(wall_time_s=budget / samples_per_s, until=plan.budget.until),
        start_points=plan.start_points if start else (),
    )
    replayed = replay_plan(table, plan, SLOTS)
    places = {
        one.recorded: (index, position)
        for index, configuration in enumerate(task.configurations)
        for position, one in enumerate(configuration.replicates)
    }
    reports = sorted(
        (
            (spent, record.number, report)
            for record in replayed.records
            for report in record.reports
            if (spent := round(report.ended_at * samples_per_s)) <= budget
        ),
        key=lambda entry: entry[:2],
    )
    steps: list[Step] = []
    best, incumbent = float("nan"), None
    for spent, number, report in reports:
        value = report.metrics.get(table.metric.name, float("nan"))
        if table.metric.better(value, best):
            best, incumbent = value, number
        if number == incumbent:
            recorded = replayed.recorded[number]
            configuration, replicate = places[recorded.sweep, recorded.number]
            step = Step(spent=spent, configuration=configuration, replicate=replicate, samples=report.nominal_samples)
            steps.append(step)
    trials = len({number for _, number, _ in reports})
    return Trajectory(steps=tuple(steps), spent=min(budget, replayed.samples), trials=trials)
