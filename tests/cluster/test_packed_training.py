"""A real sweep of packed trials: the packed engine over a tiny model, in this process."""

import threading
from pathlib import Path

import pytest

from orchestrator.cluster.executor import Executor
from orchestrator.cluster.inline import InlineExecutor
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import FloatRange, IntRange, Parameter, Space
from orchestrator.core.sweeps.plan import EngineName, EnginePlan, Precision
from orchestrator.core.sweeps.policy import Budget, Resources, SamplerName, SamplerPolicy, StoppingPolicy
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.search.sweeps import open_sweep
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Engine
from orchestrator.training.mixed import MixedEngine
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification

POINTS = (16, 32, 48)
TRIALS = 6
METRIC = Metric(name="val/loss", direction=Direction.MINIMIZE)


def build(plan: EnginePlan) -> Engine:
    return MixedEngine(EngineContext(plan, TinyClassification()))


def run(executor: Executor, folder: Path, parallel: int) -> tuple[TrialRecord, ...]:
    """Search learning rate and rank over a tiny model."""
    made_up = Source(origin=Origin.LOCAL, name="made up")
    data = DataPlan(
        source=made_up, train=40, validation=20, test=12, train_eval=10, shift={"other": made_up}, shift_rows=8
    )
    plan = EnginePlan(
        objective="tiny-classification",
        model=Source(origin=Origin.LOCAL, name=str(tiny_bert(folder / "model"))),
        data=data,
        report_points=POINTS,
        sweep_dir=str(folder),
        metric=METRIC.name,
        precision=Precision.FLOAT32,
        device="cpu",
        engine=EngineName.PACKED,
    )
    rate = Parameter(name="learning_rate", distribution=FloatRange(low=1e-4, high=1e-2, log=True))
    rank = Parameter(name="rank", distribution=IntRange(low=2, high=8))
    search = SearchPlan(
        space=Space(parameters=(rate, rank)),
        metric=METRIC,
        timetable=Timetable(points=POINTS),
        budget=Budget(trials=TRIALS),
        sampler=SamplerPolicy(name=SamplerName.RANDOM),
        stopping=StoppingPolicy(reports=len(POINTS), patience=None),
        fixed={"batch_size": 8, "max_length": 16, "dropout": 0.1},
        seed=3,
    )
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    sweep = open_sweep(ledger, "tiny", {}, "")
    with ledger.drivers.hold(sweep.id):
        coordinator, resources = Coordinator(ledger, sweep, search), Resources(parallel_trials=parallel)
        with executor.run(coordinator, plan, resources, threading.Event()):
            pass
    return ledger.trials.all(sweep.id)


def test_packed_and_serial_sweeps_decide_equally(tmp_path: Path) -> None:
    together = run(InlineExecutor(build), tmp_path / "together", parallel=4)
    alone = run(InlineExecutor(build), tmp_path / "alone", parallel=1)
    assert [record.number for record in together] == list(range(TRIALS))
    assert {record.state for record in together} == {TrialState.COMPLETE, TrialState.PRUNED}
    for packed, single in zip(together, alone, strict=True):
        assert packed.settings == single.settings
        assert "shift/other/accuracy" in packed.final
        common = min(len(packed.reports), len(single.reports))
        for report, other in zip(packed.reports[:common], single.reports[:common], strict=True):
            assert report.metrics[METRIC.name] == pytest.approx(other.metrics[METRIC.name], rel=1e-3)
