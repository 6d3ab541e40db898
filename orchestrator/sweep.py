"""The whole story of a sweep, top to bottom: from the checked file to the kept adapters."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestrator.assets.models import require_model
from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.core.disk import suspending
from orchestrator.core.errors import LoratoryError, SuspendedError
from orchestrator.core.observer import SweepObserver
from orchestrator.core.outcome import SweepOptions, SweepOutcome
from orchestrator.core.plan import EnginePlan
from orchestrator.core.sweep import SUSPENDED, SweepRecord, SweepStatus
from orchestrator.finished import QUESTION, finished_sweep, outcome_of, page_of, question_of
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.planning import adapters_of, check_solo, describe, facts_of, fingerprint_of, plan_engine, plan_search
from orchestrator.report.files import write_report
from orchestrator.report.of_sweep import summary_of
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.database import sweep_dir
from orchestrator.search.driver_lock import Hold
from orchestrator.search.ledger import Ledger
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.location import locate
from orchestrator.tracking.reconciler import Reconciler
from orchestrator.tracking.store import LedgerStore
from orchestrator.tracking.synchroniser import Synchroniser
from orchestrator.training.engine import Measure
from orchestrator.training.final import measure_test, unmeasured
from orchestrator.training.recovery import recover
from orchestrator.training.retention import Retention

FLUSH_S = 120.0
"""Seconds that the end of a sweep waits for the tracking store; what is missing then is written by the next run."""


class _Open(NamedTuple):
    """A sweep that this driver holds; ``waited_s`` is how long its person waited for that, in seconds."""

    ledger: Ledger
    record: SweepRecord
    plan: EnginePlan
    hold: Hold
    waited_s: float

    def begin(self) -> None:
        """Let this driver's time and its start-up count: there is something to do."""
        if not self.hold.busy:
            self.hold.busy = True
            startup_s = self.record.facts.get("startup_s", 0.0) + self.waited_s
            self.ledger.update_sweep(self.record.id, facts={"startup_s": startup_s})


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
        SuspendedError: the disk is full, the ledger or Ray is gone: the sweep is suspended, and no trial failed for it.
    """
    began_at = options.began_at or time.time()
    ledger, question = Ledger.open(), question_of(spec)
    if not options.fresh and (known := finished_sweep(ledger, spec, question)):
        return outcome_of(ledger, known.id, spec, synced=True)
    require_model(spec.model)  # before the rows, which take longer
    objective = load_objective(spec.objective)
    splits = objective.splits(spec.data)
    check_solo(spec, splits, say)
    sweep = ledger.open_sweep(spec.name, fingerprint_of(spec, splits), spec.text, fresh=options.fresh, say=say)
    folder = sweep_dir(sweep)
    folder.mkdir(parents=True, exist_ok=True)
    waited_s = max(0.0, time.time() - began_at)
    with ledger.drive(sweep.id) as hold:
        plan = replace(plan_engine(spec, splits, folder), sweep_key=sweep.key)
        adapters = adapters_of(plan, objective, spec.metric)
        told = describe(spec, splits, sweep.fingerprint["rows"], folder)
        reconciler = Reconciler(Synchroniser(LedgerStore(ledger, sweep.id), told, locate(spec.tracking), adapters), say)
        # From here on the ledger says that the sweep runs; whatever ends it says so too.
        facts = {**facts_of(spec, splits, plan), QUESTION: None}  # until all of it is written
        sweep = ledger.update_sweep(sweep.id, status=SweepStatus.RUNNING, spec_text=spec.text, facts=facts)
        where = _Open(ledger, sweep, plan, hold, waited_s)
        status, reason = SweepStatus.INTERRUPTED, "ended by an error"
        try:
            with suspending(folder):
                reconciler.start()
                at_the_end = partial(_measure_at_the_end, spec, where, (objective, splits), stop, say)
                reason = _search(spec, options, where, (*observers, reconciler), stop, say, at_the_end)
            status = SweepStatus.INTERRUPTED if stop.is_set() else SweepStatus.FINISHED
        except SuspendedError as error:
            reason = f"{SUSPENDED}{error}"
            raise
        finally:
            with suspending(folder):
                synced = _close(ledger, sweep, (status, reason), reconciler, question)
    return outcome_of(ledger, sweep.id, spec, synced=synced)


def _search(
    spec: SweepSpec,
    options: SweepOptions,
    where: _Open,
    observers: Sequence[SweepObserver],
    stop: threading.Event,
    say: Callable[[str], None],
    at_the_end: Callable[[Measure | None], None],
) -> str:
    """Run trials until none is left to run or ``stop`` is set, then measure; return why it ended, in words.

    Raises:
        LoratoryError: most trials failed, so that going on is pointless.
    """
    ledger, sweep, plan = where[:3]
    records = ledger.records(sweep.id)
    for line in recover(plan, records, spec.metric):
        say(line)
    retention = Retention(Path(plan.sweep_dir), spec.metric, spec.tracking.keep_adapters, records)
    search = plan_search(spec, plan.timetable)
    coordinator = Coordinator(ledger, sweep, search, observers=(*observers, retention))
    if not coordinator.exhausted:
        where.begin()
        for observer in observers:
            observer.prepared(plan)
        executor = InlineExecutor() if options.inline else TuneExecutor()
        executor.run(coordinator, plan, spec.resources, stop, say, at_the_end)
    if coordinator.failing is not None:
        raise LoratoryError(coordinator.failing)
    if stop.is_set():
        return "stopped"
    at_the_end(None)  # what no process of the search measured
    return coordinator.exhausted_reason or ""


def _close(
    ledger: Ledger, sweep: SweepRecord, end: tuple[SweepStatus, str], reconciler: Reconciler, question: str | None
) -> bool:
    """Store how the sweep ended, write its report and let the tracker catch up; return whether it did."""
    try:
        summary = summary_of(ledger, ledger.update_sweep(sweep.id, status=end[0], facts={"ended": end[1]}))
        ledger.update_sweep(sweep.id, facts={"importances": dict(summary.importances.values)})
        write_report(page_of(sweep).parent, summary)
        synced = reconciler.flush(FLUSH_S)
        if synced and end[0] is SweepStatus.FINISHED:
            ledger.update_sweep(sweep.id, facts={QUESTION: question})
        return synced
    finally:
        reconciler.close(1.0)


def _measure_at_the_end(
    spec: SweepSpec,
    where: _Open,
    task: tuple[Objective, Splits],
    stop: threading.Event,
    say: Callable[[str], None],
    measure: Measure | None,
) -> None:
    """Fit the baseline, and read the test split for each kept adapter not yet measured on it; see `measure_test`."""
    ledger, plan, sweep = where.ledger, where.plan, where.ledger.sweep(where.record.id)
    todo = unmeasured(Path(plan.sweep_dir), ledger.records(sweep.id), spec.metric, spec.tracking.keep_adapters)
    if not todo and "baseline" in sweep.facts:
        return
    where.begin()
    began, timer = time.time(), time.monotonic()
    objective, splits = task
    facts: dict[str, object] = {}
    with ThreadPoolExecutor(1) as beside:
        baseline = None if "baseline" in sweep.facts else beside.submit(objective.baseline, splits)
        if todo:
            say(f"measuring what is kept on the test split: trials {', '.join(str(one.number) for one in todo)}")
            for number, measured in measure_test(plan, todo, spec.metric, measure):
                ledger.add_final(sweep.id, number, measured)
                if stop.is_set():
                    return
        if baseline is not None:
            facts["baseline"] = dict(baseline.result() or {})
    facts["closing"] = [*sweep.facts.get("closing", ()), (began, began + time.monotonic() - timer)]
    ledger.update_sweep(sweep.id, facts=facts)
