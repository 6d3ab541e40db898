"""Synthetic trial tables with a known best configuration, and tables of fake sweeps."""

import math
import random
from collections.abc import Mapping, Sequence

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.replay.table import TableReport, TableTrial, TrialTable

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
POINTS = tuple(range(100, 1300, 100))

SPEC = """
name: made
objective: nowhere.py
model: ./absent
data: {source: ./absent.csv, max_length: 64}
training: {epochs: 3, batch_size: 16}
search:
  sampler: random
  space:
    learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}
    rank: {choices: [4, 8, 16]}
    dropout: {low: 0.0, high: 0.3}
early_stopping: {rule: none, reports: 12}
budget: {trials: 24}
resources: {engine: packed, parallel_trials: 4}
tracking: {keep_adapters: 1}
seed: 3
"""


def height(settings: TrialSettings) -> float:
    """Return the final accuracy without noise: best at a learning rate of 1e-3, better with rank."""
    miss = math.log10(settings.learning_rate) + 3
    return 0.9 - 0.08 * miss**2 + 0.001 * settings.rank - 0.1 * settings.dropout


def trial_of(number: int, params: Mapping[str, ParamValue], seed: int, points: Sequence[int] = POINTS) -> TableTrial:
    """Return a recorded trial; its accuracy rises with diminishing returns, and has the noise of its seed."""
    settings = TrialSettings.from_params({"epochs": 3, "batch_size": 16, "max_length": 64, **params})
    noise = random.Random(seed).gauss(0, 0.002)
    reports = []
    for samples in points:
        accuracy = (height(settings) + noise) * (1 - math.exp(-samples / 200))
        metrics = {
            "val/accuracy": accuracy,
            "val/loss": 1 - accuracy,
            "train/loss": 1 - accuracy,
            "progress/tokens": 20.0 * samples,
        }
        reports.append(TableReport(samples=samples, metrics=metrics, seconds=4.0))
    return TableTrial(
        number=number,
        sweep="made#1",
        params=params,
        settings=settings,
        seed=seed,
        state=TrialState.COMPLETE,
        reason="reached its budget",
        reports=tuple(reports),
        final={"shift/other/accuracy": 0.5},
        test={"accuracy": height(settings) + noise / 2},
    )


def made_table(configurations: int = 100, replicates: int = 1) -> TrialTable:
    """Return a table of random configurations."""
    draw = random.Random(1)
    trials: list[TableTrial] = []
    for _ in range(configurations):
        params: dict[str, ParamValue] = {
            "learning_rate": 10 ** draw.uniform(-5, -2),
            "rank": draw.choice((4, 8, 16)),
            "dropout": draw.uniform(0, 0.3),
        }
        trials += [trial_of(len(trials) + copy, params, 1000 * len(trials) + copy) for copy in range(replicates)]
    return TrialTable(name="made", metric=ACCURACY, spec_text=SPEC, points=POINTS, trials=tuple(trials))


def recorded_table(records: Sequence[TrialRecord], metric: Metric, points: tuple[int, ...]) -> TrialTable:
    """Return the table of a sweep's trials."""
    trials = tuple(
        TableTrial(
            number=record.number,
            sweep="fake#1",
            params=record.params,
            settings=record.settings,
            seed=record.seed,
            state=record.state,
            reason=record.reason,
            reports=tuple(
                TableReport(samples=r.nominal_samples, metrics=r.metrics, seconds=1.0) for r in record.reports
            ),
            final=record.final,
        )
        for record in records
    )
    return TrialTable(name="fake", metric=metric, spec_text="", points=points, trials=trials)
