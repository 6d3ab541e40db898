"""The observers of this project keep the contract."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.cli.lines import Lines
from orchestrator.cli.live import LiveView
from orchestrator.cli.progress import Progress
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.policy import Budget
from orchestrator.core.trials.timetable import Timetable
from orchestrator.testing import ObserverContract
from orchestrator.tracking.runs.reconciler import Reconciler
from orchestrator.training.checkpoints.retention import Retention
from tests.cluster.fake_sweep import Diary

METRIC = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


def progress() -> Progress:
    return Progress(metric=METRIC, budget=Budget(trials=4), timetable=Timetable(points=(1000, 2000)), before_s=0.0)


class TestRetention(ObserverContract):
    @pytest.fixture
    def observer(self, tmp_path: Path) -> SweepObserver:
        return Retention(tmp_path, METRIC, 1)


class TestLines(ObserverContract):
    @pytest.fixture
    def observer(self) -> SweepObserver:
        return Lines(progress(), list[str]().append)


class TestLiveView(ObserverContract):
    @pytest.fixture
    def observer(self) -> SweepObserver:
        return LiveView(progress(), Console(file=io.StringIO()))


class NoRecords:
    """A pass without records to write."""

    def run(self) -> tuple[str, ...]:
        return ()


class TestReconciler(ObserverContract):
    @pytest.fixture
    def observer(self) -> Iterator[SweepObserver]:
        reconciler = Reconciler(NoRecords(), lambda _: None, gap_s=0.0)
        reconciler.start()
        yield reconciler
        assert reconciler.close(10)


class TestDiary(ObserverContract):
    @pytest.fixture
    def observer(self) -> SweepObserver:
        return Diary()
