"""The whole story of a sweep, top to bottom: from the checked file to the kept adapters."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.core.errors import LoratoryError
from orchestrator.core.observer import SweepObserver
from orchestrator.core.outcome import SweepOptions, SweepOutcome
from orchestrator.core.plan import EnginePlan
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.planning import (
    REPORT_DIR,
    adapters_of,
    describe,
    fingerprint_of,
    plan_engine,
    plan_search,
    row_counts,
)
from orchestrator.report.files import PAGE, write_report
from orchestrator.report.of_sweep import summary_of
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.database import sweep_dir
from orchestrator.search.ledger import Ledger
from orchestrator.search.stopping.points import rungs
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.location import locate
from orchestrator.tracking.reconciler import Reconciler
from orchestrator.tracking.store import LedgerStore
from orchestrator.tracking.synchroniser import Synchroniser
from orchestrator.training.final import measure_test, unmeasured
from orchestrator.training.retention import Retention

FLUSH_S = 120.0
"""Seconds that the end of a sweep waits for the tracking store; what is missing then is written by the next run."""


class _Open(NamedTuple):
    """A sweep that this driver holds."""

    ledger: Ledger
    record: SweepRecord
    plan: EnginePlan


def run_sweep(
    spec: SweepSpec,
    options: SweepOptions,
    observers: Sequence[SweepObserver],
    stop: threading.Event,
    say: Callable[[str], None],
) -> SweepOutcome:
    """Run the sweep, or go on with it, until its budget is spent or ``stop`` is set.

    Args:
        spec: the checked sweep file.
        options: how to run it this time.
        observers: hear of every event after its commit.
        stop: set by the caller to suspend the sweep; the same call later goes on.
        say: told, in one sentence each, what a person should know while it runs.

    Raises:
        SweepChangedError: a sweep of that name was started with another search.
        SweepLockedError: another driver is running it.
    """
    began_at = options.began_at or time.time()
    objective = load_objective(spec.objective)
    splits = objective.splits(spec.data)
    ledger, fingerprint = Ledger.open(), fingerprint_of(spec, splits)
    sweep = ledger.open_sweep(spec.name, fingerprint, spec.text, fresh=options.fresh)
    folder = sweep_dir(sweep)
    folder.mkdir(parents=True, exist_ok=True)
    with ledger.drive(sweep.id):
        plan = plan_engine(spec, splits, folder)
        sweep = _opened(spec, _Open(ledger, sweep, plan), row_counts(splits), began_at)
        adapters = adapters_of(spec.model, objective, spec.metric, folder)
        description = describe(spec, splits, fingerprint["rows"], folder)
        store = LedgerStore(ledger, sweep.id)
        reconciler = Reconciler(Synchroniser(store, description, locate(spec.tracking), adapters), say)
        reconciler.start()
        status, reason = SweepStatus.INTERRUPTED, "ended by an error"
        try:
            reason = _search(spec, options, _Open(ledger, sweep, plan), (*observers, reconciler), stop)
            if not stop.is_set():
                _measure_at_the_end(spec, _Open(ledger, sweep, plan), (objective, splits), stop, say)
            status = SweepStatus.INTERRUPTED if stop.is_set() else SweepStatus.FINISHED
        finally:
            page, synced = _close(ledger, sweep, status, reason, reconciler)
    uri = locate(spec.tracking).tracking_uri
    return _outcome(ledger, ledger.sweep(sweep.id), tracking_uri=uri, synced=synced, report=str(page))


def _search(
    spec: SweepSpec,
    options: SweepOptions,
    where: _Open,
    observers: Sequence[SweepObserver],
    stop: threading.Event,
) -> str:
    """Run trials until none is left to run or ``stop`` is set; return why it ended, in words.

    Raises:
        LoratoryError: most trials failed, so that going on is pointless.
    """
    ledger, sweep, plan = where
    records = ledger.records(sweep.id)
    retention = Retention(Path(plan.sweep_dir), spec.metric, spec.tracking.keep_adapters, records)
    search = plan_search(spec, plan.report_points)
    coordinator = Coordinator(ledger, sweep, search, observers=(*observers, retention))
    if not coordinator.exhausted:
        executor = InlineExecutor() if options.inline else TuneExecutor()
        executor.run(coordinator, plan, spec.resources, stop)
    if coordinator.failing is not None:
        raise LoratoryError(coordinator.failing)
    return "stopped" if stop.is_set() else coordinator.exhausted_reason or ""


def _close(
    ledger: Ledger, sweep: SweepRecord, status: SweepStatus, reason: str, reconciler: Reconciler
) -> tuple[Path, bool]:
    """Store how the sweep ended, write its report and let the tracker catch up; return the page and whether it did."""
    try:
        sweep = ledger.update_sweep(sweep.id, status=status, facts={"ended": reason})
        return _write_report(ledger, sweep), reconciler.flush(FLUSH_S)
    finally:
        reconciler.close(1.0)


def _outcome(ledger: Ledger, sweep: SweepRecord, *, tracking_uri: str, synced: bool, report: str) -> SweepOutcome:
    return SweepOutcome(
        sweep=ledger.sweep(sweep.id),
        records=ledger.records(sweep.id),
        finished=sweep.status is SweepStatus.FINISHED,
        reason=sweep.facts["ended"],
        tracking_uri=tracking_uri,
        synced=synced,
        report=report,
    )


def _write_report(ledger: Ledger, sweep: SweepRecord) -> Path:
    """Write the sweep's report from the ledger and return its page's path."""
    summary = summary_of(ledger, sweep)
    ledger.update_sweep(sweep.id, facts={"importances": dict(summary.importances.values)})
    return next(path for path in write_report(sweep_dir(sweep) / REPORT_DIR, summary) if path.name == PAGE)


def _opened(spec: SweepSpec, where: _Open, rows: dict[str, int], began_at: float) -> SweepRecord:
    """Store what was found while preparing, and how long that took."""
    ledger, sweep, plan = where
    stopping = spec.stopping
    facts = {
        "metric": {"name": spec.metric.name, "direction": spec.metric.direction.value},
        "data": rows,
        "report_points": list(plan.report_points),
        "engine": asdict(plan),
        "rungs": list(rungs(plan.report_points, stopping.grace_samples, stopping.reduction_factor)),
        "startup_s": sweep.facts.get("startup_s", 0.0) + time.time() - began_at,
    }
    return ledger.update_sweep(sweep.id, status=SweepStatus.RUNNING, spec_text=spec.text, facts=facts)


def _measure_at_the_end(
    spec: SweepSpec,
    where: _Open,
    task: tuple[Objective, Splits],
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    """Fit the baseline, and read the test split once for each kept adapter that has not been measured on it."""
    (ledger, sweep, plan), (objective, splits), began = where, task, time.time()
    todo = unmeasured(Path(plan.sweep_dir), ledger.records(sweep.id), spec.metric, spec.tracking.keep_adapters)
    if todo:
        say(f"measuring the {len(todo)} kept adapters on the test split")
        for number, measured in measure_test(plan, todo, spec.metric):
            ledger.add_final(sweep.id, number, measured)
            if stop.is_set():
                return
    facts: dict[str, object] = {}
    if "baseline" not in sweep.facts:
        facts["baseline"] = dict(objective.baseline(splits) or {})
    if todo or facts:
        facts["closing"] = [*sweep.facts.get("closing", ()), (began, time.time())]
        ledger.update_sweep(sweep.id, facts=facts)
