"""A stored sweep's summary, importances included: the ledger's records as a report shows them."""

from orchestrator.core.sweep import SweepRecord
from orchestrator.report.leaderboard import metric_of
from orchestrator.report.summary import Importances, Summary, summarise
from orchestrator.search.importances import Importances as Found
from orchestrator.search.importances import importances
from orchestrator.search.ledger import Ledger


def summary_of(ledger: Ledger, sweep: SweepRecord) -> Summary:
    """Return the summary of a sweep as the ledger has it now."""
    sweep, records = ledger.settled(sweep), ledger.records(sweep.id)
    found = importances(records, metric_of(sweep))
    return summarise(sweep, records, Importances(values=found.shares, note=_note(found)))


def _note(found: Found) -> str | None:
    """Return where the trials were compared, and what else is to be known."""
    if not found.shares:
        return found.note
    compared = f"{found.trials} trials at {found.nominal_samples:,} samples"
    return f"{compared}; {found.note}" if found.note else compared
