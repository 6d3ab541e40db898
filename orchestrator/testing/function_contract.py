"""Tests of a function ``run(config, report)``: it reports every metric, and a resumed trial gets the same values."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.core.data import DataPlan
from orchestrator.core.metric import Direction
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.tasks.function import FunctionPlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.training.function.engine import FunctionEngine

MEASURED = ("time/", "memory/")
"""Prefixes of metrics that differ between two equal trainings."""


class FunctionContract:
    """Tests of one function, each in processes of its own. Subclasses set the attributes::

    class TestMine(FunctionContract):
        file = Path("my_run.py")
        values = {"learning_rate": 0.01}
    """

    file: Path
    """The function's file."""
    function: str = "run"
    """The function's name."""
    values: Mapping[str, ParamValue] = {}
    """A value of each searched and each fixed parameter."""
    metrics: Sequence[str] = ("loss",)
    """The metrics of the sweep file, without a split."""
    samples: int = 100
    """Training samples of a trial; few, so that the tests are short. The function reports at a half and at the end."""

    def engine(self, folder: Path) -> FunctionEngine:
        """Return an engine that trains into a folder."""
        function = FunctionPlan(
            path=str(self.file.absolute()),
            name=self.function,
            samples=self.samples,
            metrics=dict.fromkeys(self.metrics, Direction.MINIMIZE),
        )
        plan = EnginePlan(
            objective=f"{function.path}:{function.name}",
            model=function.source,
            data=DataPlan(source=function.source),
            report_points=self.points,
            sweep_dir=str(folder),
            metric=f"val/{self.metrics[0]}",
            engine=EngineName.FUNCTION,
            function=function,
        )
        return FunctionEngine(plan)

    @property
    def points(self) -> tuple[int, int]:
        """The report points."""
        return max(1, self.samples // 2), self.samples

    def task(self) -> TrialTask:
        """Return the trained trial."""
        return TrialTask(number=0, settings=TrialSettings(values=self.values), seed=1)

    @pytest.fixture
    def whole(self, tmp_path: Path) -> list[Report]:
        """Return the reports of an uninterrupted trial."""
        with closing(self.engine(tmp_path / "whole").start(self.task())) as run:
            return [run.advance(point) for point in self.points]

    def test_reports_have_a_checkpoint(self, whole: list[Report]) -> None:
        """Without a checkpoint a trial cannot be resumed or promoted."""
        assert all(report.checkpoint is not None for report in whole)

    def test_resumed_trial_has_the_same_reports(self, whole: list[Report], tmp_path: Path) -> None:
        """A trial that ends at its first report and starts again ends with the same values."""
        engine = self.engine(tmp_path / "resumed")
        with closing(engine.start(self.task())) as run:
            first = run.advance(self.points[0])
        with closing(engine.start(self.task())) as run:
            last = run.advance(self.points[1])
        assert [_learned(report) for report in (first, last)] == [_learned(report) for report in whole]


def _learned(report: Report) -> dict[str, float]:
    return {name: value for name, value in report.metrics.items() if not name.startswith(MEASURED)}
