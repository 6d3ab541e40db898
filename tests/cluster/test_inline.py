"""The inline executor fulfils the executor contract without Ray, solo and packed."""

import subprocess
import sys

from orchestrator.cluster.executor import Executor
from orchestrator.cluster.host import EngineFactory
from orchestrator.cluster.inline import InlineExecutor
from orchestrator.core.plan import EngineName
from tests.contracts.executor_contract import ExecutorContract, PackedContract


class TestInlineExecutor(ExecutorContract):
    def executor(self, build: EngineFactory) -> Executor:
        return InlineExecutor(build)


class TestInlinePacked(TestInlineExecutor, PackedContract):
    parallel = 3
    engine = EngineName.PACKED


def test_inline_executor_never_imports_ray() -> None:
    code = "import sys, orchestrator.cluster.inline, orchestrator.cluster.tune_executor; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
