"""Intervals from the files of a trial: test, shift, gap and forgetting."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import goal
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.forgetting import DRIFT, LOSS, Behaviour, drift, forgetting, forgetting_rows
from orchestrator.evaluation.measurement_file import kept_test_file, write_measurement
from orchestrator.evaluation.scores.adapter_intervals import adapter_intervals
from orchestrator.statistics.intervals import mean_interval, wilson_interval
from tests.report.examples import make_records

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


def measured(rows: int, right: int, loss: float = 0.5) -> Measurement:
    """Return a measurement of a classifier; every other row has twice the loss."""
    losses = tuple(loss * (1 + row % 2) for row in range(rows))
    predictions = tuple(int(row < right) for row in range(rows))
    found = RowMeasures(losses=losses, units=(1.0,) * rows, predictions=predictions, references=(1,) * rows)
    return Measurement(metrics={"loss": float(np.mean(losses)), "accuracy": right / rows}, rows=found)


def texts() -> tuple[Behaviour, Behaviour]:
    """Return the behaviour of a causal model before and after, on 30 texts."""
    draw = np.random.default_rng(0)
    early = tuple(map(float, draw.uniform(5, 20, 30)))
    late = tuple(map(float, np.array(early) + draw.normal(2, 1, 30)))
    return Behaviour(losses=early, tokens=(10.0,) * 30), Behaviour(losses=late, tokens=(10.0,) * 30)


@pytest.fixture
def trial(tmp_path: Path) -> TrialRecord:
    before, after = texts()
    general = Measurement(metrics=forgetting(before, after), rows=forgetting_rows(before, after))
    files = {
        "kept_test.json": ("test/", measured(100, 80)),
        "shift_tweets.json": ("shift/tweets/", measured(50, 30)),
        "kept_general.json": ("", general),
        "kept_validation.json": ("val/", measured(60, 50, 0.6)),
        "kept_train.json": ("train/", measured(40, 36, 0.2)),
    }
    record = make_records()[0]
    best = record.best(ACCURACY)
    assert best is not None
    final: dict[str, float] = {"gap/loss": 0.6, "shift/news/accuracy": 0.7}
    for name, (prefix, measurement) in files.items():
        file = kept_test_file(tmp_path, record.number).with_name(name)
        write_measurement(file, best.nominal_samples, None, measurement)
        final |= {f"{prefix}{each}": value for each, value in measurement.metrics.items()}
    return replace(record, final=final)


def test_each_stored_metric_has_its_interval(trial: TrialRecord, tmp_path: Path) -> None:
    found = adapter_intervals(tmp_path, trial, ACCURACY, 10_000)
    assert set(found) == {
        *("test/accuracy", "test/loss", "shift/tweets/accuracy", "shift/tweets/loss", LOSS, "gap/loss")
    }  # an earlier version stored shift/news, without its rows
    shift = found["shift/tweets/accuracy"]
    plain = wilson_interval(30, 50)
    assert shift.samples == "50 rows of tweets"
    assert plain.low - 0.01 < shift.low < plain.low  # with the noise of one seed, 0.005
    before, after = texts()
    rises = mean_interval(np.array(after.losses) - np.array(before.losses), np.array(before.tokens))
    assert (found[LOSS].low, found[LOSS].high) == pytest.approx((rises.low, rises.high))
    parts = [mean_interval(np.array(measured(*each).rows.losses)) for each in ((60, 50, 0.6), (40, 36, 0.2))]
    below = np.hypot(parts[0].value - parts[0].low, parts[1].high - parts[1].value)
    assert found["gap/loss"].low == pytest.approx(0.6 - below)
    assert found["gap/loss"].samples == "60 validation rows and 40 training rows"


def test_searched_metrics_have_no_interval(trial: TrialRecord, tmp_path: Path) -> None:
    also = [Metric(name=name, direction=Direction.MINIMIZE) for name in ("shift/tweets/loss", LOSS, "gap/loss")]
    assert set(adapter_intervals(tmp_path, trial, goal(ACCURACY, also=also), None)) == {"test/accuracy", "test/loss"}


def test_rows_of_other_metrics_are_ignored(trial: TrialRecord, tmp_path: Path) -> None:
    changed = replace(trial, final={**trial.final, "shift/tweets/loss": 0.9, LOSS: 0.1, "gap/loss": 0.9})
    assert set(adapter_intervals(tmp_path, changed, ACCURACY, None)) == {"test/accuracy", "test/loss"}


def test_drift_has_an_interval_over_texts() -> None:
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(400, 8))
    changed = vectors + 0.5 * draw.normal(size=(400, 8))
    truth, hits = drift(vectors, changed), 0
    for start in range(0, 400, 20):
        part = slice(start, start + 20)
        rows = forgetting_rows(Behaviour(vectors=vectors[part]), Behaviour(vectors=changed[part]))
        found = mean_interval(np.array(rows.scores[DRIFT]))
        assert found.value == pytest.approx(drift(vectors[part], changed[part]))
        hits += found.low <= truth <= found.high
    assert 17 <= hits <= 20
