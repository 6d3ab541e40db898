"""Sweeps with several metrics or with constraints, from the file to the report and the tracker."""

import csv
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.goal import Constraint, Goal, goal
from orchestrator.core.sweeps.policy import SamplerName, StoppingName
from orchestrator.core.trials.ranking import front
from orchestrator.report.charts import CHARTS
from orchestrator.report.goal_lines import goal_lines
from orchestrator.report.leaderboard import metric_of
from orchestrator.report.summary import summarise
from orchestrator.stores import read_spec
from orchestrator.sweep import SweepOptions, SweepResult, run_sweep
from orchestrator.tracking.runs.wording import sweep_tags, trial_tags
from tests.fakes.tiny_sweep import tiny_sweep
from tests.tracking.records import description

METRICS = "search.metrics=[val/loss, gap/loss]"


def file_without(folder: Path, *lines: str) -> Path:
    file = tiny_sweep(folder)
    kept = [line for line in file.read_text().splitlines() if not line.strip().startswith(lines)]
    file.write_text("\n".join(kept) + "\n")
    return file


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SweepResult]:
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LORATORY_HOME", str(folder / "home"))
        patched.setenv("LORATORY_MLFLOW_DIR", str(folder / "mlflow"))
        spec = read_spec(file_without(folder, "sampler", "early_stopping"), (METRICS, "budget.trials=4"))
        assert (spec.sampler.name, spec.stopping.rule) == (SamplerName.TPE, StoppingName.NONE)
        yield run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)


def test_front_is_in_every_view(swept: SweepResult) -> None:
    metric = metric_of(swept.sweep)
    assert isinstance(metric, Goal)
    assert [each.name for each in metric.metrics] == ["val/loss", "gap/loss"]
    members = front(swept.records, metric)
    board = summarise(swept.sweep, swept.records).leaderboard
    assert {row.number for row in board.rows if row.mark == "front"} == members
    [(_, sentence)] = goal_lines(swept.records, metric)
    assert f"Trial {board.rows[0].number} is preferred: the best val/loss" in sentence
    page = Path(swept.report)
    assert f"{len(members)} of 4 trials are on the Pareto front" in page.read_text()
    [table] = page.parent.glob("*.csv")
    assert {int(row["trial"]) for row in csv.DictReader(table.open()) if row["mark"] == "front"} == members
    chart = CHARTS["pareto_front"](summarise(swept.sweep, swept.records))
    assert chart is not None
    assert len(chart.figure.data[0].x) == len(members)
    tags = sweep_tags(swept.sweep, swept.records, replace(description(), metric=metric))
    assert tags["pareto_front"].count("trial") == len(members)


def test_sweep_without_trials_within_constraints_says_so(swept: SweepResult) -> None:
    within = goal(metric_of(swept.sweep).metrics[0], constraints=[Constraint(name="val/accuracy", min=1.1)])
    [(name, sentence)] = goal_lines(swept.records, within)
    assert name == "constraints"
    assert sentence.startswith("NO trial satisfies val/accuracy ≥ 1.1: trial ")
    tags = trial_tags(swept.records[0], swept.sweep, replace(description(), metric=within))
    assert tags["within_constraints"] == "no"


@pytest.mark.parametrize("engine", ["packed", "solo"])
def test_metrics_of_the_end_are_searched(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORATORY_MLFLOW_DIR", str(tmp_path / "mlflow"))
    shift = {"text": ["a poor film", "a great plot", "sad music"], "label": ["negative", "positive", "negative"]}
    pd.DataFrame(shift).to_csv(tmp_path / "other.csv")
    overrides = (
        "data.shift={other: ./other.csv}",
        "search.metrics=[val/loss, shift/other/loss]",
        "search.constraints={forgetting/similarity: {max: 0.5}}",
        f"resources.engine={engine}",
    )
    spec = read_spec(file_without(tmp_path, "sampler", "early_stopping"), overrides)
    swept = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    metric = metric_of(swept.sweep)
    for record in swept.records:
        known = record.reported_at_best(metric)
        assert {"val/loss", "shift/other/loss", "forgetting/similarity"} <= known.keys()
        assert record.violation(metric) == max(0.0, known["forgetting/similarity"] - 0.5)
    assert front(swept.records, metric)


@pytest.mark.parametrize("engine", ["packed", "solo"])
def test_limit_of_shift_or_forgetting_ends_a_trial(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORATORY_MLFLOW_DIR", str(tmp_path / "mlflow"))
    pd.DataFrame({"text": ["a poor film", "a great plot"], "label": ["negative", "positive"]}).to_csv(
        tmp_path / "other.csv"
    )
    overrides = (
        "data.shift={other: ./other.csv}",
        "early_stopping.limits={shift/other/loss: {min: 0}, forgetting/similarity: {max: -1}}",
        "early_stopping.metric=shift/other/loss",
        "early_stopping.reports=3",
        "early_stopping.grace_samples=1",
        "budget.trials=1",
        f"resources.engine={engine}",
    )
    spec = read_spec(tiny_sweep(tmp_path), overrides)
    swept = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    [trial] = swept.records
    assert trial.reason is not None
    assert trial.reason.startswith("limit: forgetting/similarity is ")
    assert len(trial.reports) == 1  # of 3
    reported = trial.reports[0].metrics
    assert reported["shift/other/loss"] == pytest.approx(trial.final["shift/other/loss"], rel=1e-3)
    assert 0 <= reported["forgetting/similarity"] <= 2
    for name in ("shift/other/loss", "forgetting/similarity"):
        assert replace(trial).reported_at_best(metric_of(swept.sweep))[name] == reported[name]


def test_unknown_forgetting_is_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "home"))
    spec = read_spec(tiny_sweep(tmp_path), ("search.constraints={forgetting/loss: {max: 0.5}}",))
    with pytest.raises(UserError, match="forgetting/similarity is measured for this base model, got forgetting/loss"):
        run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)


def test_changed_constraint_is_another_sweep(swept: SweepResult, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(swept.report).parents[4]
    monkeypatch.setenv("LORATORY_HOME", str(folder / "home"))
    monkeypatch.setenv("LORATORY_MLFLOW_DIR", str(folder / "mlflow"))
    spec = read_spec(folder / "tiny.yaml", (METRICS, "budget.trials=4", "search.constraints={gap/loss: {max: 0.5}}"))
    with pytest.raises(UserError, match=r"search\.constraints"):
        run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
