"""A plain function: a killed sweep gives the same result as an uninterrupted one, and its winner can be used."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Installation

pytestmark = pytest.mark.e2e
SWEEP = str(ROOT / "docs/examples/torch_function.yaml")
SMALL = ("--inline", "--trials", "4", "--set", "early_stopping.reports=3", "--set", "function.samples=600")


def _results(document: dict[str, Any]) -> list[tuple[int, str, Any, Any]]:
    rows = sorted(document["leaderboard"], key=lambda row: row["number"])
    return [(row["number"], row["state"], row["score"], row["params"]) for row in rows]


def test_killed_sweep_of_function_has_same_result(tmp_path: Path, empty_store: Path) -> None:
    import mlflow
    import pandas as pd

    installation = Installation.with_store(tmp_path / "killed", empty_store)
    process = installation.start("sweep", SWEEP, *SMALL, "--json")
    installation.kill_when(process, " samples: ", times=4)
    resumed = installation.json("sweep", SWEEP, *SMALL)
    other = Installation.with_store(tmp_path / "whole", empty_store)
    whole = json.loads(other.call("sweep", SWEEP, *SMALL, "--json").stdout)
    assert resumed["finished"] is True
    assert _results(resumed) == _results(whole)
    assert all("test/accuracy" in row["final"] for row in resumed["leaderboard"][:3])

    promotion = json.loads(installation.call("promote", "torch_function", "--json").stdout)
    gates = {gate["gate"]: gate["verdict"] for gate in promotion["gates"]}
    assert gates["leak"] == gates["baseline"] == "abstain"
    mlflow.set_tracking_uri(installation.tracking_uri)
    mlflow.set_registry_uri(installation.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/torch_function@champion")
    answers = model.predict(pd.DataFrame({"text": ["API returns 502 for every customer!", "send the May receipt"]}))
    assert set(answers) <= {"billing", "outage", "question"}
    refused = installation.call("predict", "torch_function", "some text", check=2)
    assert "was trained by a function" in refused.stderr
    installation.call("export", "torch_function", str(tmp_path / "exported"))
    assert (tmp_path / "exported" / "model.pt").is_file()

    runner_up = str(resumed["leaderboard"][1]["number"])
    refusal = installation.call("promote", "torch_function", "--trial", runner_up, "--dry-run", check=3)
    assert "on 43 rows" in refusal.stdout  # compared with the version in use on the rows that the function returned
