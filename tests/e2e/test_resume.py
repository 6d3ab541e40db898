"""A sweep resumes after its driver was killed."""

from pathlib import Path

import pytest

from tests.e2e.conftest import SMALL, SMOKE, Installation

pytestmark = pytest.mark.e2e


def test_killed_sweep_resumes_with_same_trials(tmp_path: Path, empty_store: Path) -> None:
    import mlflow

    installation = Installation.with_store(tmp_path, empty_store)
    process = installation.start("sweep", str(SMOKE), *SMALL, "--json")  # events go to stderr
    installation.kill_when(process, " samples: ", times=3)

    resumed = installation.json("sweep", str(SMOKE), *SMALL)

    assert resumed["finished"] is True
    assert sorted(row["number"] for row in resumed["leaderboard"]) == [0, 1, 2, 3]
    assert all(row["score"] is not None for row in resumed["leaderboard"])
    client = mlflow.MlflowClient(installation.tracking_uri)
    experiment = client.get_experiment_by_name("sentiment-smoke")
    assert experiment is not None
    trials = [run for run in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" in run.data.tags]
    assert len(trials) == 4
    for run in trials:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "val/loss")]
        assert steps == sorted(set(steps)), "a report was counted twice"
