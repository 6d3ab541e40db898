"""After a kill of Ray's processes during training the sweep is suspended, and no trial has crashed."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.ledger import Ledger
from tests.cluster.test_kill import is_alive, ray_files, trained

TRIALS = 3


def start(folder: Path, kind: str, step_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.cluster.driver", str(folder), kind, str(TRIALS), str(step_s)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.mark.parametrize(
    ("kind", "killed"),
    [
        ("tune-packed", "raylet"),
        pytest.param("tune", "raylet", marks=pytest.mark.extended),
        ("tune", "gcs_server"),
    ],
)
def test_killed_ray_process_suspends_and_fails_no_trial(tmp_path: Path, kind: str, killed: str) -> None:
    driver = start(tmp_path, kind, 0.5)
    deadline = time.monotonic() + 120
    while trained(tmp_path) < 2:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    family = psutil.Process(driver.pid).children(recursive=True)
    files = ray_files(family)
    [process] = [process for process in family if process.name() == killed]
    process.kill()
    output = driver.communicate(timeout=120)[0]
    assert driver.returncode == 1
    assert "suspended: Ray's processes have ended" in output
    assert "Traceback" not in output
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    sweep = ledger.sweeps.find("fake")
    assert {record.state for record in ledger.trials.all(sweep.id)} <= {TrialState.RUNNING, TrialState.PRUNED}
    deadline = time.monotonic() + 60
    while left := [one for one in family if is_alive(one)] + [folder for folder in files if folder.exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    if kind == "tune-packed":
        again = start(tmp_path, kind, 0.0)
        assert again.communicate(timeout=300)[0] == ""
        assert TrialState.FAIL not in {record.state for record in ledger.trials.all(sweep.id)}
        assert all(record.ended for record in ledger.trials.all(sweep.id))
