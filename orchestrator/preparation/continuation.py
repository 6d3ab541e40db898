"""The stored sweep of a command: a finished one, one to resume, or none."""

from collections.abc import Sequence

from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.ledger.home import free_generation
from orchestrator.ledger.ledger import Ledger
from orchestrator.preparation.prepared import PreparedSweep
from orchestrator.preparation.request import SweepRequest
from orchestrator.report.files import report_page
from orchestrator.search.sweeps import resumable
from orchestrator.tracking.location import holds_runs


def finished_sweep(ledger: Ledger, request: SweepRequest) -> SweepRecord | None:
    """Return the newest sweep of the name if it finished the same request, and its report and its runs exist.

    A sweep with an unanswered request of a user is not finished: its next driver answers.
    """
    newest = ledger.sweeps.newest(request.spec.name)
    if newest is None or newest.status is not SweepStatus.FINISHED:
        return None
    if request.digest is None or newest.facts.request_digest != request.digest:
        return None
    if not report_page(newest).is_file() or ledger.requests.unanswered(newest.id):
        return None
    runs = [newest.run_id, *(record.run_id for record in ledger.trials.all(newest.id))]
    return newest if holds_runs(request.location, runs) else None


def next_action(ledger: Ledger | None, prepared: PreparedSweep, *, fresh: bool) -> str:
    """Return in one sentence the next action of the command ``sweep``, without carrying it out.

    Raises:
        SweepChangedError: ``sweep`` would refuse, because the stored sweep has another search.
    """
    name = prepared.name
    newest = None if ledger is None else ledger.sweeps.newest(name)
    if ledger is None or newest is None:
        return f"starts the new sweep {name}#{free_generation(name, 1)}"
    if fresh:
        generation = free_generation(name, newest.generation + 1)
        return f"starts the new sweep {name}#{generation} beside {newest.reference}"
    driver = ledger.drivers.live(newest.id)
    if driver is not None:
        return f"is refused as long as {newest.reference} is run by {driver}"
    if resumable(ledger, name, prepared.fingerprint) is None:
        return f"starts {newest.reference} again, which has no trial yet"
    text = resumption_text(newest.reference, ledger.trials.all(newest.id), prepared.search_plan.budget.trials)
    requests = ", ".join(request.text for request in ledger.requests.unanswered(newest.id))
    return f"first answers {requests}; without this, it {text}" if requests else text


def resumption_text(reference: str, records: Sequence[TrialRecord], trials: int | None) -> str:
    """Return how a sweep with these trials resumes within a budget of ``trials`` (None: another budget limits it)."""
    ended = sum(record.ended for record in records)
    suspended = len(records) - ended
    text = f"resumes {reference}: {ended} trials ended"
    text += f", {suspended} suspended trials continue" if suspended else ""
    if trials is None:
        return f"{text}; new trials start until the budget is spent"
    new = max(0, trials - len(of_the_search(records)))
    if not new and not suspended:
        return f"starts no trial: all {ended} trials of {reference} ended; report and tracking are completed"
    return f"{text}, {new} new {'trial starts' if new == 1 else 'trials start'}"
