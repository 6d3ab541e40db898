"""An own home folder for every test, and fixtures to run commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.app import make_app
from orchestrator.core.sweeps.facts import FactChanges
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import Outcome, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.sweeps import open_sweep
from tests.commands import call
from tests.report.examples import BASELINE, DATA, METRIC, make_records

ROOT = Path(__file__).parent.parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Isolate the test from the developer's files and environment."""
    for name in ("LORATORY_DB", "LORATORY_DEBUG", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORATORY_MLFLOW_DIR", str(tmp_path / "mlflow"))
    monkeypatch.setenv("COLUMNS", "140")
    return tmp_path / "home"


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process and let its exceptions through."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(make_app(), list(arguments), input=stdin, catch_exceptions=False)

    return run


@pytest.fixture
def command() -> Run:
    """Run a command in a new process."""

    def run(*arguments: str, check: int | None = 0, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=ROOT,
            env=os.environ,
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
        )
        assert check is None or done.returncode == check, done.stderr
        return done

    return run


@pytest.fixture
def called() -> Run:
    """Run a command in this process, with the exit code and messages of a new one."""

    def run(*arguments: str, check: int = 0, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        done = call(*arguments, stdin=stdin)
        assert done.returncode == check, done.stderr
        return done

    return run


@pytest.fixture
def finished_sweep() -> str:
    """Put a finished sweep of twelve trials into the ledger and return its name."""
    ledger = Ledger.open()
    fingerprint = {"metric": METRIC, "objective": "sentiment", "model": {"origin": "packaged", "name": "minilm"}}
    sweep = open_sweep(ledger, "sentiment", fingerprint, "name: sentiment\nbudget: {trials: 12}\n")
    for record in make_records():
        ledger.trials.add(sweep.id, record, record.number)
        for report in record.reports:
            ledger.trials.add_report(sweep.id, report)
        if record.state is not TrialState.RUNNING:
            outcome = Outcome(state=record.state, reason=record.reason or "done")
            ledger.trials.end(sweep.id, record.number, outcome, final=record.final, ended_at=record.ended_at or 0.0)
    facts: FactChanges = {"baseline": BASELINE, "rows": DATA, "end_reason": "12 trials"}
    ledger.sweeps.update(sweep.id, status=SweepStatus.FINISHED, facts=facts)
    ledger.close()
    return "sentiment"
