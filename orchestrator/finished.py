"""Find the stored sweep that a command means: a finished one, one to resume, or none.

A finished sweep stores a digest of its request. If the same request comes again, it is answered without reading the
data. If anything differs (the sweep file, this program's version, a file of data, model or objective), the sweep is
opened and checked as usual.
"""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.assets.marks import mark, mark_of
from orchestrator.core.data import Origin
from orchestrator.core.secrets import redact
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.core.trial import TrialRecord
from orchestrator.ledger.home import free_generation, sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.loading import load_objective
from orchestrator.planning import REPORT_DIR
from orchestrator.report.files import PAGE
from orchestrator.search.sweeps import resumable
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.location import holds_runs, locate

REQUEST_DIGEST = "question"
"""The fact that holds what was asked."""


def request_digest(spec: SweepSpec) -> str | None:
    """Return a digest of all that decides what a sweep does; None if that takes reading its data, or asking the hub."""
    sources = [spec.data.source, *spec.data.shift.values()]
    if spec.model.origin is not Origin.HUB:  # of such a model nothing but its name is ever compared
        sources.append(spec.model)
    own = spec.objective.endswith(".py")
    code = spec.objective if own else inspect.getfile(type(load_objective(spec.objective)))
    marks = [*map(mark, sources), mark_of(Path(code))]
    if None in marks:
        return None
    asked = redact(repr((__version__, spec, locate(spec.tracking), marks)))  # a digest would tell a guessed password
    return hashlib.sha256(asked.encode()).hexdigest()


def finished_sweep(ledger: Ledger, spec: SweepSpec, question: str | None) -> SweepRecord | None:
    """Return the newest sweep of that name if it finished on the same question, and its page and its runs are there."""
    newest = ledger.sweeps.newest(spec.name)
    if newest is None or newest.status is not SweepStatus.FINISHED:
        return None
    if question is None or newest.facts.get(REQUEST_DIGEST) != question or not page_of(newest).is_file():
        return None
    runs = [newest.run_id, *(record.run_id for record in ledger.trials.all(newest.id))]
    return newest if holds_runs(locate(spec.tracking), runs) else None


def next_action(ledger: Ledger | None, spec: SweepSpec, fingerprint: Mapping[str, Any], *, fresh: bool) -> str:
    """Return in one sentence what the command ``sweep`` would do, without doing it.

    Raises:
        SweepChangedError: it would be refused, because the stored sweep of that name was started with another search.
    """
    newest = None if ledger is None else ledger.sweeps.newest(spec.name)
    if ledger is None or newest is None:
        return f"starts the new sweep {spec.name}#{free_generation(spec.name, 1)}"
    if fresh:
        generation = free_generation(spec.name, newest.generation + 1)
        return f"starts the new sweep {spec.name}#{generation} beside {newest.reference}"
    driver = ledger.drivers.live(newest.id)
    if driver is not None:
        return f"is refused as long as {newest.reference} is run by {driver}"
    if resumable(ledger, spec.name, fingerprint) is None:
        return f"starts {newest.reference} again, which has no trial yet"
    return _continuation(newest.reference, ledger.trials.all(newest.id), spec.budget.trials)


def _continuation(reference: str, records: Sequence[TrialRecord], trials: int | None) -> str:
    """Return how a sweep with these trials goes on within a budget of ``trials`` (None: another budget bounds it)."""
    ended = sum(record.ended for record in records)
    suspended = len(records) - ended
    told = f"goes on with {reference}: {ended} trials ended"
    told += f", {suspended} suspended trials continue" if suspended else ""
    if trials is None:
        return f"{told}; new trials start until the budget is spent"
    new = max(0, trials - len(records))
    if not new and not suspended:
        return f"starts no trial: all {ended} trials of {reference} ended; report and tracking are completed"
    return f"{told}, {new} new {'trial starts' if new == 1 else 'trials start'}"


def page_of(sweep: SweepRecord) -> Path:
    """Return where a sweep's report is."""
    return sweep_dir(sweep) / REPORT_DIR / PAGE
