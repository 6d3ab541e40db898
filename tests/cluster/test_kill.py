"""Repeated kills of a driver leave no processes and files behind, and the same command completes the sweep."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import psutil
import pytest

from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import LOG_FILE
from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.ledger import Ledger
from tests.cluster.fake_sweep import FakeSweep, decisions
from tests.contracts.executor_contract import check_ended
from tests.fakes.fake_engine import FakeEngineFactory, events

TRIALS = 10


def trained(folder: Path) -> int:
    return sum(len(events(folder, number)) for number in range(TRIALS))


def start(folder: Path, kind: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.cluster.driver", str(folder), kind, str(TRIALS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def kill_after(driver: subprocess.Popen[bytes], folder: Path, steps: int) -> None:
    """Kill a driver with -9 when its trials have begun ``steps`` more steps; assert that its processes die with it."""
    goal, deadline = trained(folder) + steps, time.monotonic() + 300  # other tests share the cores
    while trained(folder) < goal:
        assert driver.poll() is None, "the sweep ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    family = psutil.Process(driver.pid).children(recursive=True)
    files = ray_files(family)
    assert bool(files) == bool(family), "only Ray starts processes here"
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 20
    while left := [process for process in family if is_alive(process)] + [
        folder for folder in files if folder.exists()
    ]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def ray_files(family: list[psutil.Process]) -> set[Path]:
    """The folders of Ray's files, as its processes name them."""
    found = (re.search(r"--temp_dir=(\S+)|--temp-dir=(\S+)", " ".join(process.cmdline())) for process in family)
    return {Path(match[1] or match[2]) for match in found if match}


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("kind", "kills"), [("inline", 3), ("tune", 1), ("tune-packed", 1)])
def test_killed_driver_loses_and_repeats_no_trial(tmp_path: Path, kind: str, kills: int) -> None:
    folder, draw = tmp_path / kind, random.Random(11)
    sweep = FakeSweep(folder=folder, trials=TRIALS)
    for _ in range(kills):
        kill_after(start(folder, kind), folder, draw.randint(2, 6))
    last = start(folder, kind)
    assert last.communicate(timeout=600)[0] == b""
    assert last.returncode == 0

    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    record = ledger.sweeps.find("fake")
    records = ledger.trials.all(record.id)
    check_ended(sweep, records)
    # A step that was killed is done again; no other is: one for each trial that a killed driver had running.
    again = sum(
        sum(Counter(events(folder, number)).values()) - len(set(events(folder, number))) for number in range(TRIALS)
    )
    assert again <= kills * (1 if kind == "inline" else 2)
    study = optuna.load_study(study_name=record.reference, storage=ledger.database.url)
    states = Counter(trial.state.name for trial in study.trials)
    assert states == Counter(trial.state.name for trial in records)
    if kind == "inline":
        whole = FakeSweep(folder=tmp_path / "whole", trials=TRIALS).run(InlineExecutor(FakeEngineFactory()))
        assert decisions(records) == decisions(whole)


@pytest.mark.parametrize("kind", [pytest.param("tune", marks=pytest.mark.extended), "tune-packed"])
def test_ctrl_c_suspends_silently(tmp_path: Path, kind: str) -> None:
    driver = start(tmp_path, kind)
    while trained(tmp_path) < 4:
        assert driver.poll() is None
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: to the driver, to Ray and to the trials
    assert driver.communicate(timeout=30)[0] == b""
    assert driver.returncode == 0
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert TrialState.FAIL not in {record.state for record in ledger.trials.all(ledger.sweeps.find("fake").id)}
    assert "Started a local Ray instance" in (tmp_path / LOG_FILE).read_text()
    assert not list(tmp_path.glob("trials/*/crash-*"))
