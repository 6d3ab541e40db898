"""The whole system: the command line, with stores in an empty folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import call
from tests.conftest import STORES, copied

ROOT = Path(__file__).parent.parent.parent
SMOKE = ROOT / "sweeps/sentiment-smoke.yaml"
OVERRIDES = [f"data.{rows}" for rows in ("train=64", "validation=32", "train_eval=16", "test=32", "shift_rows=16")]
"""For an even smaller smoke sweep."""
SMALL = [part for override in OVERRIDES for part in ("--set", override)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """A folder with its own stores."""

    folder: Path

    @classmethod
    def with_store(cls, folder: Path, empty_store: Path) -> "Installation":
        """Return an installation with a migrated MLflow store, to save seconds."""
        copied(empty_store, folder / "mlflow")
        return cls(folder=folder)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if name not in STORES},
            "LORATORY_HOME": str(self.folder / "home"),
            "LORATORY_MLFLOW_DIR": str(self.folder / "mlflow"),
            "NO_COLOR": "1",
        }

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow' / 'mlflow.db'}"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in the project's root, with pipes for stdout and stderr."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=ROOT,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, timeout_s: float = 900) -> str:
        """Run a command, check its exit code and return its output."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            if process.poll() is None:
                process.kill()
        assert process.returncode == 0, f"{arguments}: exit {process.returncode}\n{out[-2000:]}\n{err[-4000:]}"
        return out

    def call(self, *arguments: str, check: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command in this process, which saves seconds of imports, and check its exit code."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            for name in STORES:
                patch.delenv(name, raising=False)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            done = call(*arguments)
        assert done.returncode == check, f"{arguments}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr}"
        return done

    def json(self, *arguments: str, timeout_s: float = 900) -> Any:
        return json.loads(self.run(*arguments, "--json", timeout_s=timeout_s))

    def kill_when(self, process: subprocess.Popen[str], word: str, times: int, timeout_s: float = 600) -> None:
        """Kill a running command with SIGKILL after ``word`` has appeared several times on stderr."""
        assert process.stderr is not None
        seen, until = 0, time.monotonic() + timeout_s
        for line in process.stderr:
            seen += word in line
            if seen >= times:
                break
            assert time.monotonic() < until, f"{word!r} seen {seen} times only"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL, "the command ended before it was killed"
        assert seen >= times, f"the command ended after {seen} lines with {word!r}"
