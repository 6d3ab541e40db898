"""A hand-made finished sweep, as stored in a ledger, and the plan of one."""

import math
import random
from dataclasses import replace
from typing import Any

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.sweeps.policy import Budget
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.preparation.preview import SweepPlan

POINTS = (1333, 2667, 4000, 5333, 6667, 8000)
METRIC = {"name": "val/accuracy", "direction": "maximize"}
BASELINE = {"val/accuracy": 0.781, "test/accuracy": 0.774, "shift/tweets/accuracy": 0.64}
DATA = {"train": 4000, "validation": 1000, "test": 1500, "product": 500, "tweets": 500}


def report(trial: int, samples: int, begin: float, seconds: float = 10.0, **metrics: float) -> Report:
    values = {name.replace("__", "/"): value for name, value in metrics.items()}
    values |= {"time/train_s": 0.7 * seconds, "time/eval_s": 0.2 * seconds, "progress/tokens": samples * 20.0}
    return Report(
        trial=trial,
        nominal_samples=samples,
        metrics=values,
        checkpoint=f"trials/{trial:04d}/checkpoint-{samples}",
        started_at=begin,
        ended_at=begin + seconds,
    )


def trial(number: int, params: dict[str, ParamValue], reports: tuple[Report, ...], **other: object) -> TrialRecord:
    values: dict[str, object] = {"state": TrialState.COMPLETE, "started_at": 1e9, "ended_at": 1e9 + 60}
    values |= other
    return TrialRecord(
        number=number,
        params=params,
        settings=TrialSettings.from_params(params),
        seed=number,
        reports=reports,
        **values,  # type: ignore[arg-type]
    )


def make_sweep(**other: object) -> SweepRecord:
    values: dict[str, object] = {
        "id": 1,
        "name": "sentiment",
        "generation": 1,
        "status": SweepStatus.FINISHED,
        "fingerprint": {"metric": METRIC, "objective": "sentiment", "model": "minilm"},
        "spec_text": "name: sentiment\nbudget: {trials: 12}\n",
        "created_at": 1e9,
        "facts": SweepFacts(baseline=BASELINE, rows=DATA),
        "elapsed_s": 420.0,
    }
    return SweepRecord(**values | other)  # type: ignore[arg-type]


def sweep_plan(**changes: Any) -> SweepPlan:
    """Return the plan of a small search with the solo engine, before it starts; ``changes`` replace its fields."""
    plan = SweepPlan(
        name="sentiment",
        metric=Metric(name="val/accuracy", direction=Direction.MAXIMIZE),
        objective="sentiment",
        model="minilm",
        data="vader-movie",
        budget=Budget(trials=12),
        space=(),
        sampler="tpe",
        stopping="none",
        report_points=(256,),
        ends=(256,),
        rungs=(),
        compared="val/loss",
        length="1 epoch",
        earliest_rung="",
        rows={"train": 256},
        parallel_trials=1,
        engine="solo",
    )
    return replace(plan, **changes)


def make_records(count: int = 12) -> tuple[TrialRecord, ...]:
    """Return trials with every outcome, two in parallel: complete, pruned early and late, diverged, running."""
    draw = random.Random(0)
    return tuple(_record(number, draw) for number in range(count))


def _record(number: int, draw: random.Random) -> TrialRecord:
    params: dict[str, ParamValue] = {
        "learning_rate": 10 ** draw.uniform(-4, -2.6),
        "rank": draw.choice([4, 8, 16, 32]),
        "dropout": draw.choice([0.0, 0.05, 0.1]),
        "schedule": draw.choice(["linear", "cosine"]),
        "alpha": 32,
    }
    quality = 1 - abs(math.log10(float(params["learning_rate"] or 1)) + 3.0) / 3
    state = {3: TrialState.FAIL, 5: TrialState.PRUNED, 6: TrialState.PRUNED, 9: TrialState.PRUNED}.get(
        number, TrialState.COMPLETE
    )
    reached = {TrialState.FAIL: 1, TrialState.PRUNED: 2}.get(state, len(POINTS))
    reports = []
    for index, samples in enumerate(POINTS[:reached]):
        progress = 1 - math.exp(-(index + 1) / 2)
        train = 0.69 - 0.45 * quality * progress + draw.gauss(0, 0.005)
        val = 0.69 - 0.33 * quality * progress + 0.01 * max(0, index - 3) + draw.gauss(0, 0.006)
        reports.append(
            report(
                number,
                samples,
                1e9 + 60 * (number // 2) + 10 * index + 15,
                val__loss=math.nan if state is TrialState.FAIL else val,
                train__loss=train,
                gap__loss=math.nan if state is TrialState.FAIL else val - train,
                val__accuracy=math.nan if state is TrialState.FAIL else 0.5 + 0.36 * quality * progress,
                train__accuracy=0.5 + 0.4 * quality * progress,
            )
        )
    final = {"shift/product/accuracy": 0.4 + 0.3 * quality, "shift/tweets/accuracy": 0.42 + 0.32 * quality}
    final |= {"shift/product/loss": 0.7, "shift/tweets/loss": 0.66}
    if state is TrialState.FAIL:
        final = {}
    if number in {0, 1, 2}:
        final["test/accuracy"] = 0.5 + 0.33 * quality
    reason = {TrialState.FAIL: "diverged: the training loss is not finite at 240 samples"}.get(state)
    return trial(number, params, tuple(reports), state=state, final=final, reason=reason)
