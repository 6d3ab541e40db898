"""Packed trials under Tune: light proxies, and one training process."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.cluster.tune_pack import run_in_new_thread
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import StoppingName
from tests.cluster import test_tune
from tests.cluster.fake_sweep import POINTS, Diary, FakeSweep
from tests.contracts.executor_contract import PackedContract, check_ended
from tests.fakes.fake_engine import FakeEngine, FakeEngineFactory, batches, events, processes

pytestmark = pytest.mark.usefixtures("shared_ray")

PARALLEL = 2

T = TypeVar("T")


class TestTunePacked(test_tune.TestTuneExecutor, PackedContract):
    parallel = PARALLEL
    processes = 1
    engine = EngineName.PACKED


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchFactory:
    """Builds a slow fake engine in a process with torch, like a real one."""

    def __call__(self, plan: EnginePlan) -> FakeEngine:
        import torch

        assert torch.get_num_threads() > 0
        return FakeEngineFactory(step_s=0.2, gather=PARALLEL)(plan)


def packed(folder: Path, trials: int) -> FakeSweep:
    return FakeSweep(folder=folder, trials=trials, rule=StoppingName.NONE, engine=EngineName.PACKED)


def meanwhile(look: Callable[[], T | None]) -> list[T]:
    """Call ``look`` in a thread until it returns a value; the returned list then holds the value."""
    found: list[T] = []

    def until_found() -> None:
        deadline = time.monotonic() + 60
        while not found and time.monotonic() < deadline:
            seen = look()
            if seen is not None:
                found.append(seen)
            time.sleep(0.05)

    threading.Thread(target=until_found, daemon=True).start()
    return found


def test_packed_trials_join_and_leave_freely(tmp_path: Path) -> None:
    build = FakeEngineFactory(step_s=0.3, gather=PARALLEL, diverges=frozenset({1}))
    records = packed(tmp_path, 3).run(TuneExecutor(build), parallel=PARALLEL)
    ran = batches(tmp_path)
    assert ran[0] == {0, 1}
    assert {0, 2} in ran, "nobody joined the one that was left"
    for record in records:
        trained = [event for event in events(tmp_path, record.number) if event.startswith("train")]
        assert trained == [f"train {point}" for point in POINTS[: 2 if record.number == 1 else 4]]


def test_killed_host_is_replaced(tmp_path: Path) -> None:
    def kill() -> int | None:
        if len(batches(tmp_path)) < 5:
            return None
        [pid] = processes(tmp_path)
        os.kill(pid, signal.SIGKILL)
        return pid

    diary = Diary()
    killed = meanwhile(kill)
    sweep = packed(tmp_path, 4)
    records = sweep.run(TuneExecutor(FakeEngineFactory(step_s=0.1)), parallel=PARALLEL, observers=[diary])
    check_ended(sweep, records)
    assert all(record.state == "complete" for record in records)
    assert set(diary.ended.values()) == set(diary.reports.values()) == {1}
    assert len(processes(tmp_path)) == 2
    assert not psutil.pid_exists(killed[0])


def test_process_is_replaced_after_engine_error(tmp_path: Path) -> None:
    sweep = packed(tmp_path, 3)
    records = sweep.run(TuneExecutor(FakeEngineFactory(raises={1: 1})), parallel=PARALLEL)
    check_ended(sweep, records)
    assert all(record.state == "complete" for record in records)
    assert len(processes(tmp_path)) == 2


def test_aside_leaves_no_thread() -> None:
    """Such a thread would keep OpenMP threads, and slow down each operation of a single trial."""
    thread = asyncio.run(run_in_new_thread(threading.current_thread))
    assert not thread.is_alive()


def test_training_process_ends_with_the_sweep(tmp_path: Path) -> None:
    packed(tmp_path, 1).run(TuneExecutor(FakeEngineFactory()), parallel=PARALLEL)
    [pid] = processes(tmp_path)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_proxies_never_import_torch(tmp_path: Path) -> None:
    def look() -> dict[str, list[bool]] | None:
        """Whether torch's library is in the memory of the pack's process, and of each proxy, when trials train."""
        if PARALLEL not in {len(batch) for batch in batches(tmp_path)}:
            return None
        seen: dict[str, list[bool]] = {"ray::PackActor": [], "ray::_Inner": []}  # the latter are Tune's trials
        for process in psutil.Process().children(recursive=True):
            kind = process.cmdline()[0].split(".")[0]
            if kind in seen:
                seen[kind].append(any("libtorch" in region.path for region in process.memory_maps()))
        return seen

    found = meanwhile(look)
    records = packed(tmp_path, PARALLEL).run(TuneExecutor(TorchFactory()), parallel=PARALLEL)
    assert all(record.ended for record in records)
    assert found == [{"ray::PackActor": [True], "ray::_Inner": [False] * PARALLEL}]
