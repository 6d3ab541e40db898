"""The file of a test measurement: read back by its owner, and ignored in every other case."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.measurement_file import (
    kept_measurement,
    kept_test_file,
    read_measurement,
    write_measurement,
)
from tests.report.examples import make_records

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
ROWS = RowMeasures(
    losses=(0.25, 1.5), units=(1.0, 1.0), predictions=(1, 0), references=(1, 1), scores={"f1": (0.5, 1.0)}
)
MEASURED = Measurement(metrics={"loss": 0.875, "accuracy": 0.5}, rows=ROWS)


@pytest.fixture
def trial(tmp_path: Path) -> TrialRecord:
    """Return a kept trial with the metrics of ``MEASURED``, and its written file."""
    record = replace(make_records()[0], final={"test/loss": 0.875, "test/accuracy": 0.5})
    best = record.best(ACCURACY)
    assert best is not None
    owner = Owner(sweep="key", task=record.task)
    write_measurement(kept_test_file(tmp_path, 0), best.nominal_samples, owner, MEASURED)
    return record


def test_kept_measurement_is_read_back(trial: TrialRecord, tmp_path: Path) -> None:
    assert kept_measurement(tmp_path, trial, ACCURACY) == MEASURED
    assert [path.name for path in (tmp_path / "trials/0000").iterdir()] == ["kept_test.json"]


def test_foreign_measurement_is_ignored(trial: TrialRecord, tmp_path: Path) -> None:
    assert kept_measurement(tmp_path, replace(trial, seed=99), ACCURACY) is None
    assert kept_measurement(tmp_path, replace(trial, final={}), ACCURACY) is None
    assert kept_measurement(tmp_path, replace(trial, final={**trial.final, "test/loss": 0.9}), ACCURACY) is None
    assert kept_measurement(tmp_path, replace(trial, reports=trial.reports[:1]), ACCURACY) is None
    file = kept_test_file(tmp_path, 0)
    assert read_measurement(file, 8000, Owner(sweep="other", task=trial.task)) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"samples": 8000, "owner": null, "rows": {"a": 1}}'])
def test_damaged_measurement_is_ignored(content: bytes, trial: TrialRecord, tmp_path: Path) -> None:
    kept_test_file(tmp_path, 0).write_bytes(content)
    assert kept_measurement(tmp_path, trial, ACCURACY) is None


def test_missing_measurement_is_ignored(trial: TrialRecord, tmp_path: Path) -> None:
    assert kept_measurement(tmp_path / "moved", trial, ACCURACY) is None
