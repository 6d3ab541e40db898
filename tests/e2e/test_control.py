"""A running sweep, acted on by the commands from another process than its driver's.

The trials are functions. Each waits before its second report for a file of the test, so no request comes too late.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.ledger.ledger import Ledger
from tests.e2e.conftest import Installation

pytestmark = pytest.mark.e2e
WAIT_S = 600
Start = Callable[..., subprocess.Popen[str]]

# The driver looks for requests every second. A report 1.5 s after the request therefore meets its answer.
FUNCTION = """
import time
from pathlib import Path

def run(config, report):
    for samples in config.report_points:
        if samples <= config.start_samples:
            continue
        if samples == config.report_points[1] and not Path("go").exists():
            while not Path("go").exists():
                time.sleep(0.05)
            time.sleep(1.5)
        model = config.folder / "model"
        model.mkdir(exist_ok=True)
        (model / "samples").write_text(str(samples))
        report({"val/loss": abs(config["rate"] - 0.5) + 1 / samples}, samples=samples, checkpoint=model)
"""
SWEEP = """
name: held
objective: ./held.py:run
function: {samples: 40, metrics: {loss: minimize}}
search: {sampler: random, space: {rate: {low: 0.0, high: 1.0}}}
early_stopping: {rule: none, reports: 4}
confirm: none
resources: {parallel_trials: 2}
"""


def sweep_file(folder: Path) -> str:
    (folder / "held.py").write_text(FUNCTION)
    (folder / "held.yaml").write_text(SWEEP)
    return str(folder / "held.yaml")


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


def stored_requests(installation: Installation) -> tuple[ControlRequest, ...]:
    ledger = Ledger.open(f"sqlite:///{installation.folder / 'home' / 'ledger.db'}")
    try:
        return ledger.requests.all(ledger.sweeps.find("held").id)
    finally:
        ledger.close()


def wait_for(driver: subprocess.Popen[str], text: str, times: int = 1) -> None:
    """Read the driver's lines until a text has appeared in several of them."""
    assert driver.stderr is not None
    lines = list[str]()
    for line in driver.stderr:
        lines.append(line)
        times -= text in line
        if not times:
            return
    pytest.fail(f"the driver ended without {text!r}: {''.join(lines)}")


def pause_at_second_report(installation: Installation, driver: subprocess.Popen[str], trials: int) -> None:
    """Pause the sweep while its trials wait before their second report, and return when it rests."""
    wait_for(driver, " samples: ", trials)
    pause = installation.start("pause", "held", "--reason", "lunch")
    until = time.monotonic() + WAIT_S
    while not stored_requests(installation):
        assert pause.poll() is None, pause.communicate()
        assert time.monotonic() < until, "the request was not stored"
        time.sleep(0.1)
    (installation.folder / "go").touch()
    wait_for(driver, "is paused and holds no engine")
    pause.communicate(timeout=WAIT_S)
    assert pause.returncode == 0


def finished(driver: subprocess.Popen[str]) -> Any:
    out, err = driver.communicate(timeout=WAIT_S)
    assert driver.returncode == 0, err[-4000:]
    return json.loads(out)


def test_paused_sweep_is_changed_killed_and_resumed(tmp_path: Path, empty_store: Path, start: Start) -> None:
    import mlflow

    installation = Installation.with_store(tmp_path, empty_store)
    command = ("sweep", sweep_file(tmp_path), "--trials", "3", "--inline", "--json")
    driver = start(installation, *command)
    pause_at_second_report(installation, driver, trials=1)
    installation.call("trial", "stop", "held", "0", "--reason", "too slow")
    installation.call("trial", "clone", "held", "0", "--set", "rate=0.5", "--reason", "better")
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=30)
    # Without a driver the request is stored, and the next driver answers it.
    assert "the next `sweep FILE` answers" in installation.call("extend", "held", "--trials", "1").stdout

    driver = start(installation, *command)
    wait_for(driver, "is paused and holds no engine")
    installation.call("resume", "held")
    document = finished(driver)
    asked = [(one["kind"], one["answer"]) for one in document["requests"]]
    assert asked == [(kind, "done") for kind in ("pause", "stop", "clone", "extend", "resume")]
    trials = {row["number"]: row for row in document["leaderboard"]}
    assert sorted(trials) == [0, 1, 2, 3], "three trials of the command, and one more"
    assert trials[0]["state"] == "pruned"
    assert trials[0]["reason"].startswith("stopped by ")
    assert trials[0]["reason"].endswith(": too slow")
    assert trials[1]["params"] == {"rate": 0.5}
    assert "clone trial 0 with rate=0.5" in Path(document["report"]).read_text()

    client = mlflow.MlflowClient(installation.tracking_uri)
    experiment = client.get_experiment_by_name("held")
    assert experiment is not None
    runs = {run.data.tags.get("loratory.trial"): run for run in client.search_runs([experiment.experiment_id])}
    assert runs["0"].data.tags["reason"] == trials[0]["reason"]
    assert runs["1"].data.tags["origin"].startswith("clone of trial 0, asked for by ")
    parent = next(run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags)
    assert "- stop trial 0 (" in parent.data.tags["mlflow.note.content"]


def test_sweep_under_ray_rests_and_resumes(tmp_path: Path, empty_store: Path, start: Start) -> None:
    installation = Installation.with_store(tmp_path, empty_store)
    driver = start(installation, "sweep", sweep_file(tmp_path), "--trials", "2", "--json")
    pause_at_second_report(installation, driver, trials=2)
    installation.call("trial", "stop", "held", "1")
    installation.call("resume", "held")
    document = finished(driver)
    states = {row["number"]: row["state"] for row in document["leaderboard"]}
    assert states == {0: "complete", 1: "pruned"}
    assert [one["kind"] for one in document["requests"]] == ["pause", "stop", "resume"]
