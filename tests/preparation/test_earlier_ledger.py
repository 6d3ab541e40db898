"""A ledger written before facts had types and a version is read, shown and resumed."""

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import make_app
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.trials.trial import Action, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.preparation.continuation import next_action
from orchestrator.preparation.prepared import prepare
from orchestrator.preparation.request import request_of
from orchestrator.preparation.stored_sweep import StoredSweep
from orchestrator.report.html import render_page
from orchestrator.report.summary import summarise
from orchestrator.stores import read_spec
from orchestrator.tracking.location import locate

ROOT = Path(__file__).parents[2]
DUMP = ROOT / "tests" / "data" / "ledger-2026-11-27.sql"
OVERRIDES = ("training.precision=float32", "resources.engine=packed")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Return the earlier ledger, in a home of its own."""
    monkeypatch.delenv("LORATORY_DB", raising=False)
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path))
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.executescript(DUMP.read_text())
    database.close()
    return Ledger.open()


def test_facts_are_typed(ledger: Ledger) -> None:
    sweep = ledger.sweeps.find("sentiment-smoke")
    facts = sweep.facts
    assert set(SweepFacts.__slots__) - {name for name in SweepFacts.__slots__ if getattr(facts, name)} == {
        *("notes", "importances", "removing", "start_points", "prior", "confirmation")
    }
    assert facts.rows == {"train": 256, "validation": 128, "test": 128, "shift/product": 64}
    assert facts.data_summary.labels == {"1": "positive", "0": "negative"}
    assert facts.end_reason == "all 4 trials were handed out"
    assert facts.engine_plan is not None
    assert (facts.engine_plan.engine, facts.engine_plan.report_points) == (EngineName.PACKED, (128, 256))
    assert sweep.elapsed_s == pytest.approx(53.1, abs=0.1)


def test_trials_and_decisions_are_read(ledger: Ledger) -> None:
    records = ledger.trials.all(ledger.sweeps.find("sentiment-smoke").id)
    assert [record.state for record in records] == [
        *(TrialState.PRUNED, TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED)
    ]
    assert [len(record.reports) for record in records] == [1, 2, 1, 1]
    assert records[1].decisions[128].action is Action.CONTINUE
    assert "test/accuracy" in records[1].final


def test_views_show_the_sweep(ledger: Ledger) -> None:
    sweep = ledger.sweeps.find("sentiment-smoke")
    summary = summarise(sweep, ledger.trials.all(sweep.id))
    assert summary.leaderboard.best is not None
    assert summary.leaderboard.best.number == 1
    assert "copy of another row" in render_page(summary, {})
    shown = CliRunner().invoke(make_app(), ["status", "sentiment-smoke"])
    assert shown.exit_code == 0
    assert "finished, all 4 trials were handed out" in shown.output


def test_same_file_resumes_the_sweep(ledger: Ledger, tmp_path: Path) -> None:
    spec = read_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", (*OVERRIDES, "budget.trials=6"))
    prepared = prepare(request_of(spec), ledger)
    assert next_action(ledger, prepared, fresh=False) == (
        "resumes sentiment-smoke#1: 4 trials ended, 2 new trials start"
    )
    sweep = ledger.sweeps.find("sentiment-smoke")
    stored = StoredSweep(sweep=sweep, records=ledger.trials.all(sweep.id), location=locate(), ledger=ledger)
    plan = prepared.placed(sweep).engine_plan
    earlier = stored.engine_plan(Path(plan.sweep_dir))
    assert (earlier.model, earlier.data, earlier.tried) == (plan.model, plan.data, plan.tried)
    assert earlier.sweep_key == plan.sweep_key
