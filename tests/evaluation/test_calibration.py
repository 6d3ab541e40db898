"""The calibration of a kept adapter: temperature, error before and after, and its file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.calibration import (
    FILE,
    AdapterCalibration,
    calibrate,
    kept_calibration,
    write_calibration,
)
from tests.report.examples import make_records

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


def too_sure(rows: int, seed: int, factor: float = 3.0) -> RowMeasures:
    """Rows whose classes are drawn from the softmax of their logits, which are then multiplied by a factor."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(rows, 3)) * 1.5
    classes = [int(draw.choice(3, p=each)) for each in softmax(logits, axis=1)]
    return RowMeasures(
        losses=(0.5,) * rows,
        units=(1.0,) * rows,
        predictions=tuple(logits.argmax(axis=1).tolist()),
        references=tuple(classes),
        logits=tuple(map(tuple, (logits * factor).tolist())),
    )


@pytest.fixture(scope="module")
def calibration() -> AdapterCalibration:
    found = calibrate(too_sure(1500, seed=1), too_sure(2000, seed=2))
    assert found is not None
    return found


def test_temperature_undoes_factor(calibration: AdapterCalibration) -> None:
    assert calibration.temperature.value == pytest.approx(3.0, rel=0.1)
    assert calibration.before.error.value > 0.15
    assert calibration.after.error.value < 0.04
    assert sum(each.rows for each in calibration.before.bins) == calibration.test_rows == 2000
    assert "(15 bins of equal width, L1)" in calibration.sentence
    assert calibration.sentence.endswith("on 1,500 validation rows (the adapter is too sure)")


def test_rows_without_logits_have_no_calibration() -> None:
    rows = too_sure(20, seed=1)
    assert calibrate(replace(rows, logits=()), rows) is None
    assert calibrate(rows, replace(rows, logits=())) is None
    assert calibrate(rows, replace(rows, logits=((float("nan"),) * 3, *rows.logits[1:]))) is None


def test_file_is_read_back_by_its_trial(calibration: AdapterCalibration, tmp_path: Path) -> None:
    trial = replace(make_records()[0], final={"test/ece_15_l1": calibration.before.error.value})
    best = trial.best(ACCURACY)
    assert best is not None
    folder = tmp_path / "trials" / "0000"
    folder.mkdir(parents=True)
    write_calibration(folder, best.nominal_samples, Owner(sweep="key", task=trial.task), calibration)
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert kept_calibration(tmp_path, trial, ACCURACY) == calibration
    assert kept_calibration(tmp_path, replace(trial, seed=99), ACCURACY) is None
    assert kept_calibration(tmp_path, replace(trial, final={"test/ece_15_l1": 0.9}), ACCURACY) is None
    assert kept_calibration(tmp_path, replace(trial, reports=trial.reports[:1]), ACCURACY) is None
    assert json.loads((folder / FILE).read_text())["before"]["error"]["norm"] == 1
    for content in (b"", b"[]", b"\xff", b'{"samples": 8000, "owner": null}'):
        (folder / FILE).write_bytes(content)
        assert kept_calibration(tmp_path, trial, ACCURACY) is None
    assert kept_calibration(tmp_path / "moved", trial, ACCURACY) is None
