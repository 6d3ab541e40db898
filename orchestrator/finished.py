"""A finished sweep remembers what was asked of it, so that the same command again is answered without reading its data.

Only the very same question is answered so. Another letter in the file, another version of this program, a touched file
of data, model or objective, and the sweep is opened, checked and looked through as ever.
"""

import hashlib
import inspect
from pathlib import Path

from orchestrator import __version__
from orchestrator.assets.marks import mark, mark_of
from orchestrator.core.data import Origin
from orchestrator.core.secrets import redact
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.objective.loading import load_objective
from orchestrator.planning import REPORT_DIR
from orchestrator.report.files import PAGE
from orchestrator.search.database import sweep_dir
from orchestrator.search.ledger import Ledger
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.location import holds_runs, locate

QUESTION = "question"
"""The fact that holds what was asked."""


def question_of(spec: SweepSpec) -> str | None:
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
    newest = next((sweep for sweep in reversed(ledger.sweeps()) if sweep.name == spec.name), None)
    if newest is None or newest.status is not SweepStatus.FINISHED:
        return None
    if question is None or newest.facts.get(QUESTION) != question or not page_of(newest).is_file():
        return None
    runs = [newest.run_id, *(record.run_id for record in ledger.records(newest.id))]
    return newest if holds_runs(locate(spec.tracking), runs) else None


def page_of(sweep: SweepRecord) -> Path:
    """Return where a sweep's report is."""
    return sweep_dir(sweep) / REPORT_DIR / PAGE
