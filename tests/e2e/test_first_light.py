"""A real sweep whose driver is killed: the same command completes it; then MLflow runs, promotion and prediction."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.assets.catalogue import CATALOGUE
from orchestrator.assets.models import resolve_model
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.loading import load_objective, objective_facts
from orchestrator.spec.load import load_spec
from tests.e2e.conftest import OVERRIDES, SMALL, SMOKE, Installation
from tests.plain_peft import PlainPeft

pytestmark = pytest.mark.e2e

NAME = "sentiment-smoke"
SWEEP = ("sweep", str(SMOKE), *SMALL, "--set", "early_stopping.grace_samples=32", "--json")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Installation:
    return Installation.with_store(tmp_path_factory.mktemp("installation"), empty_store)


@pytest.fixture(scope="module")
def swept(installation: Installation) -> Any:
    """Kill the driver while it trains, and return the result of the same command."""
    installation.kill_when(installation.start(*SWEEP), " samples: ", times=3)  # events go to stderr
    return json.loads(installation.run(*SWEEP))


def _runs(installation: Installation) -> tuple[Any, list[Any]]:
    """Return the parent run and the runs of its trials."""
    import mlflow

    client = mlflow.MlflowClient(installation.tracking_uri)
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    return parents[0], [run for run in runs if run is not parents[0]]


def test_killed_sweep_finishes_and_ranks_trials(swept: Any) -> None:
    assert swept["finished"] is True
    assert swept["synced"] is True
    rows = swept["leaderboard"]
    assert [row["number"] for row in rows] != []
    assert sorted(row["number"] for row in rows) == [0, 1, 2, 3]
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert all("shift/product/accuracy" in row["final"] for row in rows)
    assert ["test/accuracy" in row["final"] for row in rows] == [True, True, False, False]
    assert 0.3 < swept["baseline"]["test/accuracy"] < 1
    assert Path(swept["report"]).read_text().startswith("<!doctype html>")


def test_mlflow_has_one_run_per_trial(installation: Installation, swept: Any) -> None:
    import mlflow

    client = mlflow.MlflowClient(installation.tracking_uri)
    parent, trials = _runs(installation)
    assert len(trials) == 4
    names = {
        frozenset(name for name in run.data.metrics if name.startswith(("val/", "train/", "gap/"))) for run in trials
    }
    assert len(names) == 1, "every trial has the same metric names"
    best = swept["leaderboard"][0]
    winner = next(run for run in trials if run.data.tags["loratory.trial"] == str(best["number"]))
    assert winner.data.metrics["best_val_accuracy"] == pytest.approx(best["score"])
    steps = [[point.step for point in client.get_metric_history(run.info.run_id, "val/loss")] for run in trials]
    assert [32, 64] in steps
    assert all(points in ([32], [32, 64]) for points in steps), "a report was counted twice"
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"sweep.yaml", "index.html", "leaderboard.json"} <= artifacts


def test_only_best_adapters_stay_on_disk(installation: Installation, swept: Any) -> None:
    kept = {
        path.parts[-4] for path in installation.folder.glob("home/sweeps/*/trials/*/checkpoint-*/adapter/*.safetensors")
    }
    assert kept == {f"{row['number']:04d}" for row in swept["leaderboard"][:2]}


def test_promoted_adapter_matches_its_metrics(
    installation: Installation,
    swept: Any,
    tmp_path: Path,
    plain_peft: PlainPeft,
) -> None:
    # With few training rows, the winner may be below the baseline.
    installation.call("promote", NAME, "--force", "--reason", "a test")
    lines = installation.call("predict", NAME, "A wonderful film.", "Dull and far too long.", "--json").stdout
    assert "wonderful" in lines

    installation.call("export", NAME, str(tmp_path / "adapter"))
    spec = load_spec(SMOKE, OVERRIDES, objective_facts=objective_facts, packaged=CATALOGUE)
    rows = load_objective(spec.objective).splits(spec.data).validation
    texts, labels = [str(row["text"]) for row in rows], torch.tensor([row["label"] for row in rows])
    length = TrialSettings.from_params(spec.fixed).max_length
    logits = torch.tensor(plain_peft.classify(tmp_path / "adapter", resolve_model(spec.model), texts, 2, length))
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    accuracy = (logits.argmax(1) == labels).double().mean().item()

    best = swept["leaderboard"][0]
    _, trials = _runs(installation)
    winner = next(run for run in trials if run.data.tags["loratory.trial"] == str(best["number"]))
    assert loss == pytest.approx(winner.data.metrics["best_val_loss"], abs=1e-3)
    assert accuracy == pytest.approx(winner.data.metrics["best_val_accuracy"], abs=1e-3)


def test_same_command_reports_finished_sweep(installation: Installation, swept: Any) -> None:
    again = json.loads(installation.call(*SWEEP).stdout)
    assert again["finished"] is True
    assert [row["number"] for row in again["leaderboard"]] == [row["number"] for row in swept["leaderboard"]]
    assert len(_runs(installation)[1]) == 4


def test_changed_search_is_refused_with_difference(installation: Installation, swept: Any) -> None:
    err = installation.call(*SWEEP, "--set", "data.train=80", check=2).stderr
    assert "data.train: 64 → 80" in err
    assert "--fresh" in err
    assert "Traceback" not in err
