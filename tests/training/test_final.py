"""The measurement of kept adapters on the test split: rows on disk before the metrics, and again after a kill."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.tasks.function import FunctionPlan
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.measurement_file import kept_measurement, kept_test_file, kept_train
from orchestrator.training.final import measure_test
from tests.report.examples import make_records

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
NOWHERE = Source(origin=Origin.LOCAL, name="nowhere")
FUNCTION = FunctionPlan(path="run.py", name="run", samples=16, test="check")
TRIALS = make_records()[:2]


class Measured:
    """Measures rows whose losses are the number of the call; fails from call ``last`` on."""

    def __init__(self, last: int = 99) -> None:
        self.calls: list[tuple[int, str]] = []
        self.last = last

    def __call__(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        assert checkpoint.name == "adapter"
        self.calls.append((task.number, split))
        if len(self.calls) >= self.last:
            raise OSError("killed")
        loss = float(len(self.calls))
        rows = RowMeasures(losses=(loss, loss), units=(1.0, 1.0), predictions=(0, 1), references=(0, 0))
        return Measurement(metrics={"loss": loss, "accuracy": 0.5}, rows=rows)


def measuring(folder: Path, measure: Measured, engine: EngineName) -> Iterator[tuple[int, dict[str, float]]]:
    plan = EnginePlan(
        objective="sentiment",
        model=NOWHERE,
        data=DataPlan(source=NOWHERE, train=20, validation=10, test=10),
        report_points=(16,),
        sweep_dir=str(folder),
        sweep_key="key",
        metric="val/accuracy",
        engine=engine,
        function=FUNCTION if engine is EngineName.FUNCTION else None,
    )
    return measure_test(plan, TRIALS, ACCURACY, measure)


@pytest.mark.parametrize(
    ("engine", "splits"),
    [
        (EngineName.SOLO, ["test", "validation", "train_eval"]),
        (EngineName.PACKED, ["test", "validation", "train_eval"]),
        (EngineName.FUNCTION, ["test"]),
    ],
)
def test_rows_are_stored_before_metrics(engine: EngineName, splits: list[str], tmp_path: Path) -> None:
    measure, done = Measured(), []
    for number, metrics in measuring(tmp_path, measure, engine):
        done.append(number)
        assert [kept_test_file(tmp_path, trial.number).exists() for trial in TRIALS] == [True, len(done) == 2]
        trial = replace(TRIALS[number], final={**TRIALS[number].final, **metrics})
        kept = kept_measurement(tmp_path, trial, ACCURACY)
        assert kept is not None
        assert kept.rows.losses == (metrics["test/loss"],) * 2
        assert (kept_train(tmp_path, trial, ACCURACY) is None) is (engine is EngineName.FUNCTION)
    assert done == [0, 1]
    assert measure.calls == [(number, split) for number in (0, 1) for split in splits]


def test_kill_before_the_ledger_measures_again(tmp_path: Path) -> None:
    first = measuring(tmp_path, Measured(), EngineName.SOLO)
    next(first)  # trial 0 is on disk, and killed before the ledger has its metrics
    before = kept_test_file(tmp_path, 0).read_text()
    again = Measured()
    again.calls.append((9, "validation"))
    number, metrics = next(measuring(tmp_path, again, EngineName.SOLO))
    assert (number, metrics["test/loss"]) == (0, 2.0)
    assert kept_test_file(tmp_path, 0).read_text() != before
    stale = replace(TRIALS[0], final={"test/loss": 1.0})  # never pairs old metrics with new rows
    assert kept_measurement(tmp_path, stale, ACCURACY) is None
    assert kept_measurement(tmp_path, replace(TRIALS[0], final=metrics), ACCURACY) is not None


def test_failed_measurement_stores_no_rows(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="killed"):
        next(measuring(tmp_path, Measured(last=1), EngineName.SOLO))
    assert not kept_test_file(tmp_path, 0).exists()
