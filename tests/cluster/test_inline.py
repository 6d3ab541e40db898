"""The inline executor fulfils the executor contract without Ray, solo and packed."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cluster.executor import Executor
from orchestrator.cluster.host import EngineFactory
from orchestrator.cluster.inline import InlineExecutor
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.sweeps.policy import SamplerName, StoppingName
from tests.cluster.fake_sweep import FakeSweep
from tests.contracts.executor_contract import ExecutorContract, PackedContract
from tests.fakes.fake_engine import FakeEngineFactory


class TestInlineExecutor(ExecutorContract):
    def executor(self, build: EngineFactory) -> Executor:
        return InlineExecutor(build)


class TestInlinePacked(TestInlineExecutor, PackedContract):
    parallel = 3
    engine = EngineName.PACKED


@pytest.mark.parametrize("engine", list(EngineName))
def test_inline_search_is_reproducible(tmp_path: Path, engine: EngineName) -> None:
    runs: list[list[tuple[object, ...]]] = []
    for name in ("first", "second"):
        sweep = FakeSweep(folder=tmp_path / name, engine=engine, trials=10, sampler=SamplerName.TPE, epochs=(1.0, 0.5))
        records = sweep.run(InlineExecutor(FakeEngineFactory()), parallel=3)
        runs.append([(r.params, r.seed, r.state, r.decisions, [each.metrics for each in r.reports]) for r in records])
    assert runs[0] == runs[1]


def test_deferred_proposals_are_said(tmp_path: Path) -> None:
    sweep = FakeSweep(folder=tmp_path, trials=8, rule=StoppingName.NONE, batch_sizes=(8, 16, 64))
    said: list[str] = []
    sweep.run(InlineExecutor(FakeEngineFactory(memory=32)), say=said.append)
    assert any("expected to run out of memory as trial" in line for line in said)


def test_inline_executor_never_imports_ray() -> None:
    code = "import sys, orchestrator.cluster.inline, orchestrator.cluster.tune_executor; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
