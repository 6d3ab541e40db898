"""A stored sweep's summary, importances included: the ledger's records as a report shows them."""

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
    """Return the summary of a sweep as the ledger has it now.

    Args:
        ledger: holds the sweep.
        sweep: any record of it.
        notes: takes a sentence if there are no importances because they could not be computed.
    """
    sweep, records = ledger.sweeps.with_live_status(sweep), ledger.trials.all(sweep.id)
    try:
        found = importances(records, metric_of(sweep))
    except Exception as error:  # lets through whatever Optuna raises: the report is complete without importances
        logger.exception("the importances could not be computed")
        found = Found(note=f"no importances: {in_short(error)}")
        if notes is not None:
            notes["importances"] = str(found.note)
    return summarise(sweep, records, Importances(values=found.shares, note=_note(found)))


def _note(found: Found) -> str | None:
    """Return where the trials were compared, and what else is to be known."""
    if not found.shares:
        return found.note
    compared = f"{found.trials} trials at {found.nominal_samples:,} samples"
    return f"{compared}; {found.note}" if found.note else compared
