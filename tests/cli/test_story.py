"""All commands on a tiny model: sweep, resume, report, promote, predict, export, rollback.

Two of them run in new processes: one that trains, and one that reads its input.
"""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_startup import HEAVY, probe
from tests.conftest import copied
from tests.fakes.tiny_sweep import SWEEP, tiny_sweep


@pytest.fixture
def sweep_file(tmp_path: Path, empty_store: Path) -> Path:
    copied(empty_store, tmp_path / "mlflow")
    return tiny_sweep(tmp_path)


@pytest.mark.e2e
def test_sweep_promote_predict_rollback(command: Run, called: Run, sweep_file: Path, tmp_path: Path) -> None:
    measured = ("--set", "resources.parallel_trials=null")
    plan = json.loads(called("sweep", str(sweep_file), "--dry-run", "--json", *measured).stdout)
    assert plan["engine"] == "packed"
    assert "tokens/s" in plan["why"]
    assert plan["rows"] == {"train": 64, "validation": 32, "test": 32}
    assert plan["report_points"] == [32, 64]
    assert plan["action"] == "starts the new sweep tiny#1"
    assert not (tmp_path / "home" / "ledger.db").exists()

    first = command("sweep", str(sweep_file), "--inline", "--json")
    document = json.loads(first.stdout)
    assert (document["finished"], document["synced"], document["trials"]) == (True, True, {"complete": 2})
    assert "trial 1 ended complete" in first.stderr
    assert "Warning" not in first.stderr

    again = called("sweep", str(sweep_file), "--inline", "--trials", "3", "--json")
    assert "trial 2 started" in again.stderr
    assert "trial 1 started" not in again.stderr
    assert "tiny#1 is finished" in again.stderr
    board = json.loads(again.stdout)["leaderboard"]
    assert len(board) == 3
    code, modules, message = probe("sweep", str(sweep_file), "--inline", "--trials", "3")
    assert (code, "tiny#1 is finished" in message) == (0, True)
    assert modules & HEAVY <= {"optuna", "numpy"}, "these two take a third of a second"
    looked = called("sweep", str(sweep_file), "--trials", "3", "--dry-run").stdout
    assert "This command does nothing: tiny#1 is finished" in looked
    assert "settings" not in looked
    more = json.loads(called("sweep", str(sweep_file), "--trials", "5", "--dry-run", "--json").stdout)
    assert more["action"] == "resumes tiny#1: 3 trials ended, 2 new trials start"
    beside = json.loads(called("sweep", str(sweep_file), "--fresh", "--dry-run", "--json").stdout)
    assert beside["action"] == "starts the new sweep tiny#2 beside tiny#1"
    assert beside["tokens"] == "reused (train, validation, test)"
    best, worst = board[0]["number"], board[-1]["number"]

    sweep_file.write_text(SWEEP.replace("choices: [2, 4]", "choices: [2, 8]"))
    assert "--fresh" in called("sweep", str(sweep_file), "--dry-run", check=2).stderr
    changed = called("sweep", str(sweep_file), "--inline", check=2)
    assert "--fresh" in changed.stderr
    assert "Traceback" not in changed.stderr

    why = ("--force", "--reason", "a story")
    refused = called("promote", "tiny", "--dry-run", "--json", check=3)
    assert "does not pass the gates: baseline: val/accuracy" in refused.stderr
    judged = json.loads(refused.stdout)
    assert (judged["verdict"], judged["version"], judged["dry_run"]) == ("refuse", None, True)
    verdicts = {item["gate"]: (item["verdict"], item["passed"]) for item in judged["gates"]}
    assert verdicts["baseline"] == ("refuse", False)
    assert verdicts["leak"] == ("promote", True)
    policy = tmp_path / "policy.yaml"
    policy.write_text("gates: {baseline_gain: null, metrics: {test/accuracy: {min: 0}}}")
    allowed = json.loads(called("promote", "tiny", "--dry-run", "--json", "--policy", str(policy)).stdout)
    assert allowed["verdict"] == "promote"
    assert {"baseline", "test/accuracy"} & {item["gate"] for item in allowed["gates"]} == {"test/accuracy"}
    assert "no model tiny" in called("registry", "history", "tiny", check=2).stderr
    shown = called("promote", "tiny", check=3).stdout
    assert "rule: a gain > 0 in val/accuracy over the baseline" in shown
    promoted = json.loads(called("promote", "tiny", "--json", *why).stdout)
    assert (promoted["trial"], promoted["version"], promoted["aliases"]) == (best, 1, ["champion"])

    answer = json.loads(command("predict", "tiny", "--json", stdin="the film was good\n\nawful\n").stdout)
    assert answer["model"] == "tiny/1"
    assert [item["text"] for item in answer["predictions"]] == ["the film was good", "", "awful"]

    assert "--retrain" in called("promote", "tiny", "--trial", str(worst), check=2).stderr
    assert "does not pass" in called("promote", "tiny", "--trial", str(worst), "--retrain", check=3).stderr
    second = json.loads(called("promote", "tiny", "--trial", str(worst), "--retrain", "--json", *why).stdout)
    assert (second["trial"], second["version"], second["previous"]) == (worst, 2, "tiny/1")
    assert json.loads(called("rollback", "tiny", "--json").stdout)["version"] == 1

    exported = json.loads(called("export", "tiny", str(tmp_path / "out"), "--json").stdout)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(exported["files"])
