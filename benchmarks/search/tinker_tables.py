"""The public table of learning rates and ranks of LoRA (Tinker): one task for each base model, final losses only."""

from pathlib import Path

import pandas as pd

from benchmarks.search.task import Task, task_of
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialState
from orchestrator.replay.table import TableReport, TableTrial, TrialTable
from orchestrator.replay.task import spec_of

FEWEST = 12
"""Measured configurations of a model; with fewer, all policies try nearly all of them."""
SAMPLES = 256
SPEC = """
name: tinker
objective: sentiment
training: {{epochs: 1}}
search:
  metric: val/loss
  space:
    learning_rate: {{low: 4.0e-5, high: 3.0e-3, log: true}}
    rank: {{choices: [{ranks}]}}
  start:
    - {{learning_rate: 3.0e-4, rank: {highest}}}
early_stopping: {{rule: none, reports: 1, patience: null}}
budget: {{trials: 8}}
"""


def read_tinker_tasks(path: Path) -> list[Task]:
    """Return one task for each model of ``tinker_sft_sweep.csv`` with at least ``FEWEST`` configurations.

    A trial has one report, its final test loss, which is also its test value. Repeated measurements are averaged.
    """
    means = pd.read_csv(path).groupby(["model", "learning_rate", "rank"])["test_nll"].mean()
    rows = means.to_frame().reset_index()
    return [_task(str(model), points) for model, points in rows.groupby("model") if len(points) >= FEWEST]


def _task(model: str, rows: pd.DataFrame) -> Task:
    ranks = sorted({int(rank) for rank in rows["rank"]})
    trials = []
    for number, (rate, rank, loss) in enumerate(
        zip(rows["learning_rate"], rows["rank"], rows["test_nll"], strict=True)
    ):
        params: dict[str, ParamValue] = {"learning_rate": float(rate), "rank": int(rank)}
        trials.append(
            TableTrial(
                number=number,
                sweep="tinker",
                params=params,
                settings=TrialSettings.from_params({"epochs": 1.0, **params}),
                seed=0,
                state=TrialState.COMPLETE,
                reports=(TableReport(samples=SAMPLES, metrics={"val/loss": float(loss)}, seconds=1.0),),
                test={"loss": float(loss)},
            )
        )
    table = TrialTable(
        name=model,
        metric=Metric(name="val/loss", direction=Direction.MINIMIZE),
        spec_text=SPEC.format(ranks=", ".join(map(str, ranks)), highest=ranks[-1]),
        points=(SAMPLES,),
        trials=tuple(trials),
    )
    spec = spec_of(table)
    return task_of(table, space=spec.space, start_points=spec.start_points)
