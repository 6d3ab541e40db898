"""Processor time of a sampler's proposals after 12, 100 and 500 trials, without a ledger and without training.

    python -m benchmarks.proposals tpe
    python -m benchmarks.proposals surrogate

The space is that of ``benchmarks.many_trials``; all trials are complete, with random values at every report point. Each
figure is the median of 20 proposals.
"""

import random
import time
from dataclasses import replace
from statistics import median

import typer

from benchmarks.many_trials import search_plan
from orchestrator.core.sweeps.policy import SamplerName, SamplerPolicy
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.search.plan import SearchPlan
from orchestrator.search.study import SweepStudy

AFTER = (12, 100, 500)
"""Numbers of trials before the measured proposals."""
MEASURED = 20


def proposal_seconds(plan: SearchPlan, count: int) -> list[float]:
    """Return the processor seconds of each of the first ``count`` proposals."""
    study, draw, seconds = SweepStudy(None, "proposals", plan), random.Random(0), []
    study.reconcile((), {})
    for number in range(count):
        began = time.process_time()
        point = study.ask()
        seconds.append(time.process_time() - began)
        assert not isinstance(point, str), "the space is infinite"
        reports = tuple(
            Report(
                trial=number,
                nominal_samples=samples,
                metrics={plan.metric.name: draw.random(), "val/loss": draw.random()},
                checkpoint=None,
                started_at=0.0,
                ended_at=1.0,
            )
            for samples in plan.timetable.points
        )
        record = TrialRecord(
            number=number,
            params=point.params,
            settings=plan.settings(point.params),
            seed=number,
            state=TrialState.COMPLETE,
            reports=reports,
            reason="complete",
            ended_at=1.0,
        )
        study.follow(record, point.study_number)
    return seconds


def main(sampler: SamplerName) -> None:
    """Print the figures of one sampler."""
    plan = replace(search_plan(max(AFTER)), sampler=SamplerPolicy(name=sampler))
    seconds = proposal_seconds(plan, max(AFTER) + MEASURED)
    for after in AFTER:
        print(f"{sampler}: a proposal after {after} trials: {1000 * median(seconds[after : after + MEASURED]):.0f} ms")
    print(f"{sampler}: the first {max(AFTER)} proposals together: {sum(seconds[: max(AFTER)]):.0f} s")


if __name__ == "__main__":
    typer.run(main)
