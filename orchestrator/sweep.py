"""The whole story of a sweep, top to bottom: from the checked file to the kept adapters."""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.core.observer import SweepObserver
from orchestrator.core.outcome import SweepOptions, SweepOutcome
from orchestrator.core.plan import EnginePlan
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.planning import REPORT_DIR, adapters_of, describe, plan_engine, plan_search, row_counts
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
from orchestrator.training.build import build_engine
from orchestrator.training.retention import Retention, leaders

FLUSH_S = 120.0
"""Seconds that the end of a sweep waits for the tracking store; what is missing then is written by the next run."""


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
    objective = load_objective(spec.objective)
    splits = objective.splits(spec.data)
    ledger = Ledger.open()
    sweep = ledger.open_sweep(spec.name, spec.fingerprint(), spec.text, fresh=options.fresh)
    folder = sweep_dir(sweep)
    folder.mkdir(parents=True, exist_ok=True)
    with ledger.drive(sweep.id):
        plan = plan_engine(spec, splits, folder)
        sweep = _opened(ledger, sweep, spec, plan, row_counts(splits))
        adapters = adapters_of(spec.model, objective, spec.metric, folder)
        synchroniser = Synchroniser(
            LedgerStore(ledger, sweep.id), describe(spec, splits, folder), locate(spec.tracking), adapters
        )
        reconciler = Reconciler(synchroniser, say)
        reconciler.start()
        status, reason = SweepStatus.INTERRUPTED, "stopped"
        try:
            reason = _search(spec, options, (ledger, sweep, plan), (*observers, reconciler), stop)
            if not stop.is_set():
                _measure_kept(spec, plan, ledger, sweep, say)
                _measure_baseline(objective, splits, ledger, sweep)
                status = SweepStatus.FINISHED
        finally:
            sweep = ledger.update_sweep(sweep.id, status=status, facts={"ended": reason})
            page = _write_report(ledger, sweep)
            synced = reconciler.close(FLUSH_S)
    uri = locate(spec.tracking).tracking_uri
    return _outcome(ledger, sweep, tracking_uri=uri, synced=synced, report=str(page))


def _search(
    spec: SweepSpec,
    options: SweepOptions,
    where: tuple[Ledger, SweepRecord, EnginePlan],
    observers: Sequence[SweepObserver],
    stop: threading.Event,
) -> str:
    """Run trials until none is left to run or ``stop`` is set; return why it ended, in words."""
    ledger, sweep, plan = where
    records = ledger.records(sweep.id)
    retention = Retention(Path(plan.sweep_dir), spec.metric, spec.tracking.keep_adapters, records)
    search = plan_search(spec, plan.report_points)
    coordinator = Coordinator(ledger, sweep, search, observers=(*observers, retention))
    if not coordinator.exhausted:
        executor = InlineExecutor(build_engine) if options.inline else TuneExecutor(build_engine)
        executor.run(coordinator, plan, spec.resources, stop)
    return "stopped" if stop.is_set() else coordinator.exhausted_reason or ""


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


def _opened(ledger: Ledger, sweep: SweepRecord, spec: SweepSpec, plan: EnginePlan, rows: dict[str, int]) -> SweepRecord:
    """Store what was found while preparing."""
    stopping = spec.stopping
    facts = {
        "metric": {"name": spec.metric.name, "direction": spec.metric.direction.value},
        "data": rows,
        "report_points": list(plan.report_points),
        "rungs": list(rungs(plan.report_points, stopping.grace_samples, stopping.reduction_factor)),
    }
    return ledger.update_sweep(sweep.id, status=SweepStatus.RUNNING, facts=facts)


def _measure_kept(
    spec: SweepSpec, plan: EnginePlan, ledger: Ledger, sweep: SweepRecord, say: Callable[[str], None]
) -> None:
    """Read the test split once, for the kept adapters that have not been measured on it."""
    kept = leaders(ledger.records(sweep.id), spec.metric, spec.tracking.keep_adapters)
    todo = [trial for trial in kept if not any(name.startswith("test/") for name in trial.final)]
    if not todo:
        return
    say(f"measuring the {len(todo)} kept adapters on the test split")
    with closing(build_engine(plan)) as engine:
        for trial in todo:
            best = trial.best(spec.metric)
            if best is None or best.checkpoint is None:
                continue
            measured = engine.measure(Path(plan.sweep_dir) / best.checkpoint / "adapter", trial.task, "test")
            final = {f"test/{name}": value for name, value in measured.items()}
            ledger.add_final(sweep.id, trial.number, final)


def _measure_baseline(objective: Objective, splits: Splits, ledger: Ledger, sweep: SweepRecord) -> None:
    """Fit the objective's classical baseline on the same rows, once."""
    if "baseline" not in sweep.facts:
        ledger.update_sweep(sweep.id, facts={"baseline": dict(objective.baseline(splits) or {})})
