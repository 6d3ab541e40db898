"""A running sweep, acted on from other processes by the real commands."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SMALL, SMOKE, Installation

pytestmark = pytest.mark.e2e
LONGER = [*SMALL, "--set", "early_stopping.reports=4", "--set", "early_stopping.rule=none", "--set", "confirm=none"]
WAIT_S = 600
Start = Callable[..., subprocess.Popen[str]]


def status(installation: Installation) -> Any:
    return installation.json("status", "sentiment-smoke")


def wait_until(installation: Installation, holds: Callable[[Any], bool], driver: subprocess.Popen[str]) -> Any:
    """Return the status of the sweep as soon as it meets a condition; the driver must live until then."""
    until = time.monotonic() + WAIT_S
    while not holds(state := status(installation)):
        assert time.monotonic() < until, f"the sweep is still in the state {state}"
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.5)
    return state


@pytest.fixture
def start() -> Iterator[Start]:
    """Start drivers; a paused driver would wait forever, so all are killed at the end of the test."""
    drivers: list[subprocess.Popen[str]] = []

    def begin(installation: Installation, *command: str) -> subprocess.Popen[str]:
        drivers.append(installation.start(*command))
        return drivers[-1]

    yield begin
    for driver in drivers:
        driver.kill()
        driver.wait()


def first_report(driver: subprocess.Popen[str]) -> None:
    assert driver.stderr is not None
    assert any(" samples: " in line for line in driver.stderr), "the driver ended without a report"


def is_resting(state: Any) -> bool:
    """Return whether the sweep is paused, and every request answered."""
    return bool(state["paused"]) and all(one["answer"] is not None for one in state["requests"])


def answered(state: Any) -> list[tuple[str, str]]:
    return [(one["kind"], one["answer"]) for one in state["requests"]]


def finished(driver: subprocess.Popen[str]) -> Any:
    out, err = driver.communicate(timeout=WAIT_S)
    assert driver.returncode == 0, err[-4000:]
    return json.loads(out)


def test_paused_sweep_is_changed_killed_and_resumed(tmp_path: Path, empty_store: Path, start: Start) -> None:
    import mlflow

    installation = Installation.with_store(tmp_path, empty_store)
    command = ("sweep", str(SMOKE), *LONGER, "--inline", "--json")
    driver = start(installation, *command)
    first_report(driver)
    installation.run("pause", "sentiment-smoke", "--reason", "lunch")
    state = wait_until(installation, is_resting, driver)
    running = [row["number"] for row in state["leaderboard"] if row["state"] == "running"]
    assert running == [0, 1]

    installation.run("trial", "stop", "sentiment-smoke", "0", "--reason", "too slow")
    installation.run("trial", "clone", "sentiment-smoke", "1", "--set", "learning_rate=2e-3", "--reason", "faster")
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=30)
    # Without a driver the request is stored, and the next driver answers it.
    assert "the next `sweep FILE` answers" in installation.run("extend", "sentiment-smoke", "--trials", "1")
    refused = installation.start("pause", "sentiment-smoke")
    assert "there is nothing to pause" in refused.communicate(timeout=WAIT_S)[1]
    assert refused.returncode == 2

    driver = start(installation, *command)
    state = wait_until(installation, is_resting, driver)
    assert answered(state) == [("pause", "done"), ("stop", "done"), ("clone", "done"), ("extend", "done")]
    installation.run("resume", "sentiment-smoke")
    document = finished(driver)
    trials = {row["number"]: row for row in document["leaderboard"]}
    assert sorted(trials) == [0, 1, 2, 3, 4], "four trials of the file, and one more"
    assert trials[0]["state"] == "pruned"
    assert trials[0]["reason"].startswith("stopped by ")
    assert trials[0]["reason"].endswith(": too slow")
    assert trials[2]["params"] == {**trials[1]["params"], "learning_rate": 2e-3}
    assert [one["kind"] for one in document["requests"]] == ["pause", "stop", "clone", "extend", "resume"]
    page = Path(document["report"]).read_text()
    assert "clone trial 1 with learning_rate=0.002" in page

    client = mlflow.MlflowClient(installation.tracking_uri)
    experiment = client.get_experiment_by_name("sentiment-smoke")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs["trial-000"].data.tags["reason"] == trials[0]["reason"]
    assert runs["trial-002"].data.tags["origin"].startswith("clone of trial 1, asked for by ")
    parent = next(run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags)
    assert "- stop trial 0 (" in parent.data.tags["mlflow.note.content"]
    # The extension holds: the same command finds the sweep finished.
    assert installation.json(*command[:-1])["finished"] is True


def test_sweep_under_ray_rests_and_resumes(tmp_path: Path, empty_store: Path, start: Start) -> None:
    installation = Installation.with_store(tmp_path, empty_store)
    driver = start(installation, "sweep", str(SMOKE), *LONGER, "--set", "budget.trials=2", "--json")
    first_report(driver)
    installation.run("pause", "sentiment-smoke")
    wait_until(installation, is_resting, driver)
    assert driver.stderr is not None
    assert any("is paused and holds no engine" in line for line in driver.stderr)
    installation.run("trial", "stop", "sentiment-smoke", "1")
    installation.run("resume", "sentiment-smoke")
    document = finished(driver)
    states = {row["number"]: row["state"] for row in document["leaderboard"]}
    assert states == {0: "complete", 1: "pruned"}
    assert answered(document) == [("pause", "done"), ("stop", "done"), ("resume", "done")]
