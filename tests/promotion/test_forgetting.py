"""A planted forgetter of a real model is refused by name; an ordinary adapter passes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.forgetting import DRIFT, GENERAL
from orchestrator.evaluation.scores.adapter_intervals import forgetting_intervals
from orchestrator.promotion.gates.rules import GateResult, Verdict, check
from orchestrator.training.build import build_engine
from orchestrator.training.engine import Engine
from tests.training.test_minilm import MINILM, MOVIES, fetched

ROWS, ORDINARY, PLANTED = 48, (96, 1e-3), (192, 3e-2)
"""Training rows; samples and learning rate of each adapter."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    for name in ("minilm", "vader-movie", "bbc-news"):
        fetched(name)
    news = Source(origin=Origin.PACKAGED, name="bbc-news")
    plan = EnginePlan(
        objective="sentiment",
        model=MINILM,
        data=DataPlan(source=MOVIES, train=ROWS, validation=20, test=20, train_eval=20, general=news),
        report_points=(ORDINARY[0], PLANTED[0]),
        sweep_dir=str(tmp_path_factory.mktemp("sweep")),
        metric="val/accuracy",
        device="cpu",
    )
    engine = build_engine(plan)
    yield engine, Path(plan.sweep_dir)
    engine.close()


def judged(engine: Engine, folder: Path, number: int, samples: int, learning_rate: float) -> GateResult:
    settings = TrialSettings(learning_rate=learning_rate, rank=8, max_length=48, schedule="constant")
    task = TrialTask(number=number, settings=settings, seed=1)
    run = engine.start(task)
    report = run.advance(ORDINARY[0])
    report = run.advance(samples) if samples > ORDINARY[0] else report
    run.close()
    found = engine.measure(folder / str(report.checkpoint), task, GENERAL)
    metrics, intervals = found.metrics, forgetting_intervals(found.rows, found.metrics)
    assert metrics.keys() == intervals.keys() == {DRIFT}
    metric = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
    results = check(metrics, metric, None, Gates(forgetting=0.5), intervals=intervals)
    return next(each for each in results if each.gate == "forgetting")


def test_planted_forgetter_is_refused_by_name(engine: tuple[Engine, Path]) -> None:
    ordinary, planted = judged(*engine, 0, *ORDINARY), judged(*engine, 1, *PLANTED)
    assert ordinary.passed
    assert planted.verdict is Verdict.REFUSE
    assert planted.interval is not None
    assert 0.5 < planted.interval.low < planted.interval.value
    assert planted.detail.startswith(DRIFT)
