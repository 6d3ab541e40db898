"""A function in TensorFlow: its killed sweep ends without a lost or doubled trial, and its winner can be used."""

from pathlib import Path

import pytest

from tests import needs
from tests.e2e.conftest import ROOT, Installation

pytestmark = [pytest.mark.e2e, needs.tensorflow]
SWEEP = str(ROOT / "docs/examples/keras_function.yaml")
SMALL = (
    "--inline",
    "--trials",
    "2",
    "--set",
    "early_stopping={rule: none, reports: 2}",
    "--set",
    "function.samples=240",
)


def test_killed_sweep_is_resumed_and_promoted(tmp_path: Path, empty_store: Path) -> None:
    import mlflow
    import pandas as pd

    installation = Installation.with_store(tmp_path, empty_store)
    process = installation.start("sweep", SWEEP, *SMALL, "--json")
    installation.kill_when(process, " samples: ", times=1)
    [before] = (tmp_path / "home").glob("sweeps/*/trials/0000/checkpoint-*/report.json")
    written = before.stat().st_mtime_ns
    done = installation.json("sweep", SWEEP, *SMALL)
    assert done["finished"] is True
    assert sorted(row["number"] for row in done["leaderboard"]) == [0, 1]
    assert not before.exists() or before.stat().st_mtime_ns == written, "the reported part was trained again"
    for row in done["leaderboard"]:
        assert row["state"] == "complete"
        assert 0.5 < row["score"] <= 1
        assert 0.5 < row["final"]["test/accuracy"] <= 1

    mlflow.set_tracking_uri(installation.tracking_uri)
    mlflow.set_registry_uri(installation.tracking_uri)
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert len([run for run in runs if "val/accuracy" in run.data.metrics and "rank" in run.data.params]) == 2
    installation.json("promote", "keras_function")
    model = mlflow.pyfunc.load_model("models:/keras_function@champion")
    answers = model.predict(pd.DataFrame({"text": ["a wonderful, moving film", "dull and far too long"]}))
    assert len(answers) == 2
    assert {*answers} <= {"positive", "negative"}, "240 samples teach too little for right answers"
