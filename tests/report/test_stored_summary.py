"""The summary of a stored sweep."""

from dataclasses import replace
from pathlib import Path

from orchestrator.ledger.ledger import Ledger
from orchestrator.report.stored_summary import stored_summary
from orchestrator.search.sweeps import open_sweep
from tests.report.examples import METRIC, make_records


def test_failed_importances_leave_a_note(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    sweep = open_sweep(ledger, "huge", {"metric": METRIC}, "")
    for record in make_records():
        # fANOVA computes in float32, which does not hold these values.
        huge = replace(record, params={"learning_rate": 1e300 * (1 + record.number)}, reports=())
        ledger.trials.add(sweep.id, huge, record.number)
        for report in record.reports:
            ledger.trials.add_report(sweep.id, report)
    notes: dict[str, str] = {}
    summary = stored_summary(ledger, sweep, notes)
    assert notes["importances"].startswith("no importances: ValueError: ")
    assert summary.importances.note == notes["importances"]
    assert len(summary.leaderboard.rows) == 12
