"""The whole story of a sweep, top to bottom: from the checked file to the kept adapters."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.closing import Closing, OpenSweep
from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.core.disk import suspending
from orchestrator.core.errors import LoratoryError, SuspendedError
from orchestrator.core.observer import SweepObserver
from orchestrator.core.outcome import SweepOptions, SweepOutcome
from orchestrator.core.secrets import redact
from orchestrator.core.sweep import SUSPENDED, SweepStatus
from orchestrator.finished import REQUEST_DIGEST, finished_sweep, page_of, request_digest
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.loading import load_objective
from orchestrator.planning import adapters_of, check_solo, describe, facts_of, fingerprint_of, plan_engine, plan_search
from orchestrator.reading import read_rows, with_stored_rule
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.sweeps import open_sweep
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.location import locate
from orchestrator.tracking.reconciler import Reconciler
from orchestrator.tracking.synchroniser import Synchroniser
from orchestrator.training.checkpoints.recovery import recover
from orchestrator.training.checkpoints.retention import Retention
from orchestrator.training.engine import Measure


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
    ledger, question = Ledger.open(), request_digest(spec)
    if not options.fresh and (known := finished_sweep(ledger, spec, question)):
        return _outcome(ledger, known.id, spec, synced=True)
    spec = spec if options.fresh else with_stored_rule(spec, ledger)
    objective = load_objective(spec.objective)
    splits, _ = read_rows(spec, objective, say)
    check_solo(spec, splits, say)
    sweep = open_sweep(ledger, spec.name, fingerprint_of(spec, splits), spec.text, fresh=options.fresh, say=say)
    (folder := sweep_dir(sweep)).mkdir(parents=True, exist_ok=True)
    waited_s = max(0.0, time.time() - began_at)
    with ledger.drivers.hold(sweep.id) as hold:
        plan = replace(plan_engine(spec, splits, folder), sweep_key=sweep.key)
        facts = {**facts_of(spec, splits, plan), REQUEST_DIGEST: None}  # until all of it is written
        adapters = adapters_of(plan, objective, spec.metric, facts)
        told = describe(spec, splits, sweep.fingerprint["rows"], folder)
        reconciler = Reconciler(Synchroniser(ledger, sweep.id, told, locate(spec.tracking), adapters), say)
        # From here on the ledger says that the sweep runs; whatever ends it says so too.
        sweep = ledger.sweeps.update(sweep.id, status=SweepStatus.RUNNING, spec_text=spec.text, facts=facts)
        where = OpenSweep(ledger, sweep, plan, hold, waited_s)
        closing = Closing(where=where, spec=spec, objective=objective, splits=splits, stop=stop, say=say)
        status, reason = SweepStatus.INTERRUPTED, "ended by an error"
        try:
            with suspending(folder):
                reconciler.start()
                reason = _search(spec, options, where, (*observers, reconciler), stop, say, closing.measure)
            status = SweepStatus.INTERRUPTED if stop.is_set() else SweepStatus.FINISHED
        except SuspendedError as error:
            reason = f"{SUSPENDED}{error}"
            raise
        finally:
            with suspending(folder):
                synced = closing.close((status, reason), reconciler, question)
    return _outcome(ledger, sweep.id, spec, synced=synced)


def _search(
    spec: SweepSpec,
    options: SweepOptions,
    where: OpenSweep,
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
    records = ledger.trials.all(sweep.id)
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


def _outcome(ledger: Ledger, sweep_id: int, spec: SweepSpec, *, synced: bool) -> SweepOutcome:
    sweep = ledger.sweeps.get(sweep_id)
    return SweepOutcome(
        sweep=sweep,
        records=ledger.trials.all(sweep.id),
        finished=sweep.status is SweepStatus.FINISHED,
        reason=sweep.facts["ended"],
        tracking_uri=redact(locate(spec.tracking).tracking_uri),
        synced=synced,
        report=str(page_of(sweep)),
    )
