"""Synthetic tables, for tests and for trying the commands. No figure from them says anything about fine-tuning."""

import math
import random
from pathlib import Path

from benchmarks.search.task import Task, task_of
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialState
from orchestrator.replay.table import TableReport, TableTrial, TrialTable
from orchestrator.stores import read_spec

SWEEP = Path(__file__).parents[2] / "sweeps/sentiment.yaml"
POINTS = tuple(range(1250, 15001, 1250))


def synthetic_task(seed: int, *, configurations: int = 64, seeds: int = 5) -> Task:
    """Return a task over the space of ``sweeps/sentiment.yaml`` with made-up learning curves.

    The best learning rate is drawn by ``seed`` and depends on the rank. Higher rates learn sooner; too high ones
    diverge. The 16 best configurations and the default have ``seeds`` replicates.
    """
    draw = random.Random(seed)
    optimum, diverging = draw.uniform(-7.6, -6.4), draw.uniform(-6.2, -5.9)
    spec = read_spec(SWEEP)
    points: list[dict[str, ParamValue]] = [{**spec.start_points[0]}]
    while len(points) < configurations:
        points.append(
            {
                "learning_rate": math.exp(draw.uniform(math.log(1e-4), math.log(3e-3))),
                "rank": draw.choice([4, 8, 16, 32]),
                "dropout": draw.choice([0.0, 0.05, 0.1, 0.15, 0.2]),
                "weight_decay": draw.choice([0, 0.01, 0.1]),
                "warmup_ratio": draw.choice([0, 0.02, 0.04]),
                "batch_size": draw.choice([16, 32]),
            }
        )

    def accuracy(point: dict[str, ParamValue]) -> float:
        rate = math.log(_number(point, "learning_rate"))
        if rate > diverging:
            return 0.5
        off = (
            rate - optimum - 0.05 * math.sqrt(32 / _number(point, "rank")) + 0.1 * (_number(point, "batch_size") == 16)
        )
        return 0.87 - 0.02 * off**2 - 0.1 * _number(point, "dropout") ** 2 + 0.002 * math.log2(_number(point, "rank"))

    ranked = sorted(range(configurations), key=lambda index: -accuracy(points[index]))
    trials: list[TableTrial] = []
    for index, point in enumerate(points):
        for _ in range(seeds if index == 0 or index in ranked[:16] else 1):
            final = accuracy(point) + draw.gauss(0, 0.004)
            settings = TrialSettings.from_params({**spec.fixed, **point})
            trials.append(_trial(len(trials), settings, point, final, draw))
    table = TrialTable(
        name=f"synthetic-{seed}",
        metric=Metric(name="val/accuracy", direction=Direction.MAXIMIZE),
        spec_text=spec.text,
        points=POINTS,
        trials=tuple(trials),
    )
    return task_of(table, space=spec.space, start_points=spec.start_points)


def _trial(
    number: int, settings: TrialSettings, point: dict[str, ParamValue], final: float, draw: random.Random
) -> TableTrial:
    pace = 1500 * (7e-4 / _number(point, "learning_rate")) ** 0.5
    accuracies = [final - (final - 0.5) * math.exp(-at / pace) for at in POINTS]
    reports = tuple(
        TableReport(
            samples=at,
            metrics={"val/accuracy": value + draw.gauss(0, 0.008), "val/loss": 1.2 - value + draw.gauss(0, 0.002)},
            seconds=1.0,
        )
        for at, value in zip(POINTS, accuracies, strict=True)
    )
    return TableTrial(
        number=number,
        sweep="synthetic",
        params=point,
        settings=settings,
        seed=number,
        state=TrialState.COMPLETE,
        reports=reports,
        test={"accuracy": final + draw.gauss(0, 0.004)},
    )


def _number(point: dict[str, ParamValue], name: str) -> float:
    value = point[name]
    assert isinstance(value, int | float)
    return float(value)
