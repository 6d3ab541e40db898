"""The summary of a stored sweep, with importances."""

import logging

from orchestrator.core.errors import in_short
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.leaderboard import metric_of
from orchestrator.report.summary import Importances, Summary, summarise
from orchestrator.search.importances import Importances as RungImportances
from orchestrator.search.importances import importances

logger = logging.getLogger(__name__)


def stored_summary(ledger: Ledger, sweep: SweepRecord, notes: dict[str, str] | None = None) -> Summary:
    """Return the summary of the current state of a sweep.

    Args:
        ledger: the sweep's ledger.
        sweep: the sweep; its status may be out of date.
        notes: receives a sentence if computing the importances fails.
    """
    sweep, records = ledger.sweeps.with_live_status(sweep), ledger.trials.all(sweep.id)
    try:
        computed = importances(records, metric_of(sweep))
    except Exception as error:  # any error of Optuna: the report is complete without importances
        logger.exception("computing the importances failed")
        computed = RungImportances(note=f"no importances: {in_short(error)}")
        if notes is not None:
            notes["importances"] = str(computed.note)
    found = Importances(values=computed.shares, note=_note(computed), trials=computed.trials)
    return summarise(sweep, records, found, requests=ledger.requests.all(sweep.id))


def _note(computed: RungImportances) -> str | None:
    """Return the rung of the comparison and further notes."""
    if not computed.shares:
        return computed.note
    compared = f"{computed.trials} trials at {computed.nominal_samples:,} samples"
    return f"{compared}; {computed.note}" if computed.note else compared
