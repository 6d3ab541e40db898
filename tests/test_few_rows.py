"""A sweep of few rows from end to end: other folds of the rows for its leaders, and the winner's learning curve."""

import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from orchestrator.core.trials.trial import TrialState
from orchestrator.report.charts.training_rows import training_rows
from orchestrator.report.explanation import explain
from orchestrator.report.findings import Rule
from orchestrator.report.summary import Summary, summarise
from orchestrator.stores import read_spec
from orchestrator.sweep import SweepOptions, run_sweep
from tests.conftest import copied
from tests.fakes.tiny_sweep import tiny_sweep


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with its own stores and a sweep file with folds."""
    folder = tmp_path_factory.mktemp("few")
    copied(empty_store, folder / "mlflow")
    file = tiny_sweep(folder)
    text = file.read_text().replace("  validation: 32\n", "  folds: 3\n").replace("train: 64", "train: 60")
    file.write_text(
        text.replace("keep_adapters: 1", "keep_adapters: 2").replace("search:", "search:\n  metric: val/loss")
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LORATORY_DB", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("LORATORY_HOME", str(folder / "home"))
        patch.setenv("LORATORY_MLFLOW_DIR", str(folder / "mlflow"))
        yield folder


@pytest.fixture(scope="module")
def summary(folder: Path) -> Summary:
    return swept(folder)


def swept(folder: Path, *overrides: str) -> Summary:
    spec = read_spec(folder / "tiny.yaml", overrides)
    result = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    return summarise(result.sweep, result.records)


def test_leaders_are_trained_on_each_other_fold(summary: Summary) -> None:
    fresh = [record for record in summary.records if record.confirms is not None]
    assert summary.data is not None
    assert (summary.data["train"], summary.data["validation"]) == (60, 30)
    assert sorted((record.confirms, record.fold) for record in fresh) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert {record.state for record in summary.records} == {TrialState.COMPLETE}
    values = [record.at_best(summary.leaderboard.metric)["val/loss"] for record in fresh]
    assert len({*values}) == 4


def test_report_shows_interval_over_folds(summary: Summary) -> None:
    for score in summary.confirmation:
        assert score.mean is not None
        assert score.mean_low is not None
        assert score.mean_high is not None
        assert score.mean == pytest.approx(fmean(score.values))
        assert score.mean_low < score.mean < score.mean_high
        assert score.test_interval is not None
        assert "on 2 other folds of the rows: val/" in score.sentence
        assert "rows, seeds and folds" in score.sentence


def test_more_repeats_train_missing_folds(folder: Path, summary: Summary) -> None:
    more = swept(folder, "data.folds={folds: 3, repeats: 2}")
    assert more.records[: len(summary.records)] == summary.records
    assert [record.fold for record in more.records[len(summary.records) :]] == [3, 3, 4, 4, 5, 5]


def test_learning_curve_answers_from_test_rows(folder: Path, summary: Summary) -> None:
    found = swept(folder, "data.folds={folds: 3, repeats: 2}", "learning_curve=2")
    trained = [record for record in found.records if record.share is not None]
    curve = found.learning_curve
    assert summary.learning_curve is None
    assert curve is not None
    assert [(point.share, point.rows, len(point.values)) for point in curve.points] == [
        (0.125, 8, 2),
        (0.25, 15, 2),
        (0.5, 30, 2),
        (1.0, 60, 2),
    ]
    assert {record.confirms for record in trained} == {curve.trial}
    trials = folder / "home" / "sweeps" / "tiny-1" / "trials"
    assert not [record.number for record in trained if [*trials.glob(f"{record.number:04d}/*/adapter")]]
    assert all([*trials.glob(f"{record.number:04d}/*/report.json")] for record in trained)
    assert curve.test_rows == 32
    assert [gain.rows for gain in curve.forecasts.gains] == [120, 240]
    assert all(gain.low <= gain.value <= gain.high for gain in curve.forecasts.gains)
    [finding] = [finding for finding in explain(found) if finding.rule is Rule.MORE_ROWS]
    assert "on 12.5 %, 25 %, 50 %, 100 % of 60 training rows: test/loss" in finding.sentence
    assert "twice the rows (120)" in finding.sentence
    needed = curve.forecasts.needed
    assert needed is not None
    assert needed.gain == float(f"{0.05 * curve.points[-1].mean:.0e}")
    assert "an improvement by" in finding.sentence
    chart = training_rows(found)
    assert chart is not None
    assert "twice the rows (120)" in chart.message
