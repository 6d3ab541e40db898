"""The summary of a stored sweep, with importances."""

import logging

from orchestrator.core.errors import in_short
from orchestrator.core.sweep import SweepRecord
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.leaderboard import metric_of
from orchestrator.report.summary import Importances, Summary, summarise
from orchestrator.search.importances import Importances as Found
from orchestrator.search.importances import importances

logger = logging.getLogger(__name__)


def summary_of(ledger: Ledger, sweep: SweepRecord, notes: dict[str, str] | None = None) -> Summary:
    """Return the summary of the current state of a sweep.

    Args:
        ledger: the sweep's ledger.
        sweep: the sweep; its status may be out of date.
        notes: receives a sentence if computing the importances fails.
    """
    sweep, records = ledger.sweeps.with_live_status(sweep), ledger.trials.all(sweep.id)
    try:
        found = importances(records, metric_of(sweep))
    except Exception as error:  # any error of Optuna: the report is complete without importances
        logger.exception("computing the importances failed")
        found = Found(note=f"no importances: {in_short(error)}")
        if notes is not None:
            notes["importances"] = str(found.note)
    return summarise(sweep, records, Importances(values=found.shares, note=_note(found)))


def _note(found: Found) -> str | None:
    """Return the rung of the comparison and further notes."""
    if not found.shares:
        return found.note
    compared = f"{found.trials} trials at {found.nominal_samples:,} samples"
    return f"{compared}; {found.note}" if found.note else compared
