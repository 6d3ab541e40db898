"""The Python API: the same sweeps as the commands', as typed results."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import orchestrator
from orchestrator.api import Sweep, load_sweep, open_sweep, run_sweep
from orchestrator.core.errors import SpecError, UserError
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.ledger import Ledger
from tests.fakes.tiny_sweep import tiny_sweep
from tests.report.examples import make_records

ROOT = Path(__file__).parent.parent
METRIC = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """A stored sweep without an engine: finished, with twelve trials of which two have no result."""
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path))
    monkeypatch.delenv("LORATORY_DB", raising=False)
    ledger = Ledger.open()
    fingerprint = {"metric": {"name": METRIC.name, "direction": METRIC.direction.value}}
    sweep = ledger.sweeps.create("films", 1, fingerprint, "name: films")
    for record in make_records():
        ledger.trials.add(sweep.id, replace(record, reports=(), final={}, state=TrialState.RUNNING), record.number)
        for report in record.reports:
            ledger.trials.add_report(sweep.id, report)
    ledger.sweeps.update(sweep.id, status=SweepStatus.FINISHED, facts={"end_reason": "all trials were handed out"})
    ledger.close()
    return open_sweep("films")


def test_package_import_loads_no_library() -> None:
    code = "import sys, orchestrator; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {"torch", "ray", "mlflow", "optuna", "pandas", "pydantic"}.isdisjoint(loaded.split())


def test_api_import_needs_no_pytest() -> None:
    code = "import sys, orchestrator.api, orchestrator.sweep; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_package_offers_the_api_lazily() -> None:
    assert orchestrator.open_sweep is open_sweep
    assert {*orchestrator.__all__} - {"__version__"} <= {*vars(orchestrator.api)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        orchestrator.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_run_sweep_says_the_warnings_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path))
    file = tiny_sweep(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\na,positive\n")  # too few rows: the run ends before training
    spec = load_sweep(file, ["tracking.uri=sqlite:///x.db?password=secret"])
    messages: list[str] = []
    with pytest.raises(UserError):
        run_sweep(spec, say=messages.append)
    assert [message for message in messages if message.startswith("warning: ")] == [f"warning: {spec.warnings[0]}"]


def test_open_sweep_returns_typed_results(stored: Sweep) -> None:
    assert stored.reference == "films#1"
    assert (stored.status, stored.reason) == (SweepStatus.FINISHED, "all trials were handed out")
    assert stored.metric == METRIC
    assert [trial.number for trial in stored.trials] == [*range(len(make_records()))]
    scores = [trial.score for trial in stored.leaderboard if trial.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert stored.best == stored.leaderboard[0]
    assert stored.best is not None
    assert stored.best.result == scores[0]
    assert stored.report_path.name == "index.html"


def test_frame_has_one_row_per_trial(stored: Sweep) -> None:
    frame = stored.to_frame()
    assert stored.best is not None
    assert [*frame.columns[:6]] == ["place", "state", "score", "result", "gap", "seconds"]
    assert {*frame.columns[6:]} == {name for trial in stored.trials for name in trial.params}
    assert sorted(frame.index) == [trial.number for trial in stored.trials]
    assert frame.index[0] == stored.best.number
    assert frame.loc[stored.best.number, "score"] == stored.best.score
    assert int(frame["score"].isna().sum()) == sum(trial.score is None for trial in stored.trials)


def test_open_sweep_names_stored_sweeps(stored: Sweep) -> None:
    with pytest.raises(UserError, match=r"no sweep books.*films#1"):
        open_sweep("books")
    assert open_sweep(stored.reference) == stored


def test_load_sweep_applies_overrides() -> None:
    file = ROOT / "sweeps/sentiment-smoke.yaml"
    assert load_sweep(file, ["budget.trials=3"]).budget.trials == 3
    with pytest.raises(SpecError, match=r"budget\.trials"):
        load_sweep(str(file), ["budget.trials=none"])


def test_notebook_example_runs_and_resumes(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "docs/examples/notebook.py")]
    folders = {"LORATORY_HOME": str(tmp_path), "LORATORY_MLFLOW_DIR": str(tmp_path / "mlflow"), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **folders}
    first, again = (
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    )
    assert "tickets-notebook#1 finished val/macro_f1" in first
    assert {"place", "state", "score", "learning_rate"} <= {*first.split()}
    page = tmp_path / "sweeps/tickets-notebook-1/report/index.html"
    assert first.splitlines()[-1] == again.splitlines()[-1] == str(page)
    assert page.is_file()
