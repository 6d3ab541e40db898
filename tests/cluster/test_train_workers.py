"""A trial in two workers through Ray Train, inside its Tune trial: a lost worker ends the trial, not the sweep."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from orchestrator.core.trials.trial import TrialRecord, TrialState, TrialTask
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.training.build import build_engine
from tests import needs
from tests.fakes.tiny_models import tiny_llama
from tests.fakes.tiny_sweep import tiny_sweep

pytestmark = pytest.mark.usefixtures("own_stores")

OVERRIDES = (
    "model=./llama",
    "training={epochs: 40, batch_size: 16, precision: float32}",
    "resources={engine: solo, workers_per_trial: 2, parallel_trials: 1}",
    "confirm=none",
)


def workers() -> list[psutil.Process]:
    """Return the processes of Ray Train's workers."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "RayTrainWorker" in " ".join(child.cmdline()[:1])]


def kill_a_worker(folder: Path, times: int) -> None:
    """Kill a worker of the trial in ``folder`` as soon as it trains, ``times`` times."""
    beat, newest = folder / "unfinished" / "samples", 0.0
    for _ in range(times):
        while not (beat.exists() and beat.stat().st_mtime > newest and len(workers()) == 2):
            time.sleep(0.02)
        victims = workers()
        newest = time.time()
        victims[1].kill()
        psutil.wait_procs(victims, timeout=60)


def compare_with_one_process(record: TrialRecord, sweep_dir: Path, folder: Path) -> None:
    """Train a finished trial of the sweep again in one process, in ``folder``; compare its losses and its adapter."""
    plan = replace(
        stored_sweep("tiny").engine_plan(sweep_dir), workers=1, deepspeed=None, sweep_dir=str(folder / "one")
    )
    engine = build_engine(plan)
    run = engine.start(TrialTask(number=record.number, settings=record.settings, seed=record.seed))
    expected = [run.advance(point) for point in plan.report_points]
    run.close()
    engine.close()
    assert [report.metrics["val/loss"] for report in record.reports] == pytest.approx(
        [report.metrics["val/loss"] for report in expected], abs=1e-3
    )
    [best] = sweep_dir.glob(f"trials/{record.number:04d}/checkpoint-*/adapter/adapter_model.safetensors")
    adapters = [load_file(each / best.relative_to(sweep_dir)) for each in (sweep_dir, folder / "one")]
    assert adapters[0].keys() == adapters[1].keys()
    for name, value in adapters[1].items():
        torch.testing.assert_close(adapters[0][name], value, rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.extended
def test_lost_worker_ends_the_trial_not_the_sweep(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    tiny_llama(tmp_path / "llama")
    sweep_dir = tmp_path / "home" / "sweeps" / "tiny-1"
    killer = threading.Thread(target=kill_a_worker, args=(sweep_dir / "trials" / "0000", 2), daemon=True)
    killer.start()
    done = run_sweep(read_spec(file, OVERRIDES), SweepOptions(), (), threading.Event(), lambda _line: None)
    lost, whole = done.records
    assert (lost.state, whole.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert "a worker of the trial died" in (lost.reason or "")
    assert not workers()
    compare_with_one_process(whole, sweep_dir, tmp_path)


@needs.deepspeed
def test_zero_divides_the_trials_of_a_sweep(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    tiny_llama(tmp_path / "llama")
    overrides = (*OVERRIDES, "training.epochs=2", "training.deepspeed=zero3", "tracking.keep_adapters=2")
    done = run_sweep(read_spec(file, overrides), SweepOptions(), (), threading.Event(), lambda _line: None)
    assert [record.state for record in done.records] == [TrialState.COMPLETE] * 2
    first = done.records[0]
    assert first.reports[-1].metrics["val/loss"] < first.reports[0].metrics["val/loss"]
    compare_with_one_process(first, tmp_path / "home" / "sweeps" / "tiny-1", tmp_path)
    assert not workers()


@pytest.mark.extended
def test_killed_driver_leaves_no_worker_and_resumes(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    tiny_llama(tmp_path / "llama")
    sweep_dir = tmp_path / "home" / "sweeps" / "tiny-1"
    command = [sys.executable, "-m", "orchestrator", "sweep", str(file)]
    for override in OVERRIDES:
        command += ["--set", override]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while not [*sweep_dir.glob("trials/0000/checkpoint-*/report.json")]:
        assert driver.poll() is None, "the sweep ended before its first report"
        time.sleep(0.02)
    family = psutil.Process(driver.pid).children(recursive=True)
    assert sum("RayTrainWorker" in " ".join(process.cmdline()[:1]) for process in family) == 2
    driver.kill()
    killed_at = time.time()
    driver.wait()
    _, left = psutil.wait_procs(family, timeout=30)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
    done = run_sweep(read_spec(file, OVERRIDES), SweepOptions(), (), threading.Event(), lambda _line: None)
    assert [record.state for record in done.records] == [TrialState.COMPLETE] * 2
    first, *others = done.records[0].reports
    assert first.ended_at < killed_at < others[-1].ended_at, "trained again from the start"
    assert not workers()
    assert not [*sweep_dir.glob("trials/*/workers")]
