"""The main function of a sweep, in the order of its steps: from the checked sweep file to the kept adapters."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.closing import Closing, RunningSweep
from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.core.errors import LoratoryError, SuspendedError
from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.sweep import SUSPENDED, SweepRecord, SweepStatus
from orchestrator.core.system.disk import suspending
from orchestrator.core.system.environment import program
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.splits import write_near_copies
from orchestrator.preparation.continuation import finished_sweep
from orchestrator.preparation.prepared import prepare
from orchestrator.preparation.request import request_of
from orchestrator.report.files import report_page
from orchestrator.search.control import POLL_S
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.sweeps import open_sweep
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.location import Location
from orchestrator.tracking.runs.reconciler import Reconciler
from orchestrator.tracking.runs.synchroniser import Synchroniser
from orchestrator.training.checkpoints.recovery import recover
from orchestrator.training.checkpoints.retention import Retention


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOptions:
    """How to run a sweep this time; no option changes its results.

    Attributes:
        inline: train in this process, without Ray: packed trials together, solo trials one after another.
        fresh: start a new sweep beside the stored ones of its name.
        began_at: when the user typed the command, in seconds since the epoch; None: at the call.
    """

    inline: bool = False
    fresh: bool = False
    began_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepResult:
    """The state of a sweep after a run.

    Attributes:
        sweep, records, requests: the sweep, its trials and the requests of users, as the ledger holds them.
        finished: whether the budget is spent; False: the sweep is suspended, and the same command resumes it.
        reason: why the run ended, in words.
        location: the tracking store and the model registry.
        synced: whether the tracker holds everything; False: the next run writes the rest.
        report: path of the report's page.
    """

    sweep: SweepRecord
    records: tuple[TrialRecord, ...]
    requests: tuple[ControlRequest, ...]
    finished: bool
    reason: str
    location: Location
    synced: bool
    report: str


def run_sweep(
    spec: SweepSpec,
    options: SweepOptions,
    observers: Sequence[SweepObserver],
    stop: threading.Event,
    say: Callable[[str], None],
) -> SweepResult:
    """Start or resume a sweep, and run it until its budget is spent or ``stop`` is set.

    Args:
        spec: the checked sweep file.
        options: how to run it this time.
        observers: receive every event after its commit.
        stop: set by the caller to suspend the sweep; the same call resumes it later.
        say: shows progress to the user, one sentence per call.

    Raises:
        SweepChangedError: the stored sweep has another search.
        SweepLockedError: another driver runs the sweep.
        SuspendedError: the disk is full, or the ledger or Ray is unavailable. The sweep is suspended; no trial failed.
    """
    began_at = options.began_at or time.time()
    ledger, request = Ledger.open(), request_of(spec)
    newest = None if options.fresh else ledger.sweeps.newest(spec.name)
    if newest is not None:
        ledger.drivers.require_none(newest.id)  # before the data is read; `hold` below decides
    if not options.fresh and (finished := finished_sweep(ledger, request)):
        return _result(ledger, finished.id, request.location, synced=True)
    prepared = prepare(request, ledger, say, fresh=options.fresh)
    sweep = open_sweep(ledger, prepared.name, prepared.fingerprint, prepared.spec_text, fresh=options.fresh, say=say)
    prepared = prepared.placed(sweep)
    folder = Path(prepared.engine_plan.sweep_dir)
    folder.mkdir(parents=True, exist_ok=True)
    waited_s = max(0.0, time.time() - began_at)
    with ledger.drivers.hold(sweep.id) as hold:
        tracker = Synchroniser(ledger, sweep.id, prepared.description, prepared.location, prepared.adapters)
        reconciler = Reconciler(tracker, say)
        # From here on the ledger says RUNNING; every exit below stores another status.
        sweep = ledger.sweeps.update(
            sweep.id, status=SweepStatus.RUNNING, spec_text=prepared.spec_text, facts=prepared.facts
        )
        running = RunningSweep(
            ledger=ledger, record=sweep, prepared=prepared, hold=hold, waited_s=waited_s, stop=stop, say=say
        )
        closing = Closing(running)
        status, reason = SweepStatus.INTERRUPTED, "ended by an error"
        try:
            with suspending(folder):
                write_near_copies(folder, prepared.near_copies)
                reconciler.start()
                reason = _search(running, closing, (*observers, reconciler), inline=options.inline)
            status = SweepStatus.INTERRUPTED if stop.is_set() else SweepStatus.FINISHED
        except SuspendedError as error:
            reason = f"{SUSPENDED}{error}"
            raise
        finally:
            with suspending(folder):
                synced = closing.close(status, reason, reconciler)
    return _result(ledger, sweep.id, prepared.location, synced=synced)


def _search(running: RunningSweep, closing: Closing, observers: Sequence[SweepObserver], *, inline: bool) -> str:
    """Run the trials until none is left or ``stop`` is set, then measure the kept adapters; return why it ended.

    Raises:
        LoratoryError: most trials failed.
    """
    ledger, sweep, prepared, stop, say = running.ledger, running.record, running.prepared, running.stop, running.say
    plan, records = prepared.engine_plan, ledger.trials.all(sweep.id)
    for message in recover(plan, records, prepared.metric):
        say(message)
    retention = Retention(Path(plan.sweep_dir), prepared.metric, prepared.keep_adapters, records)
    while True:
        coordinator = Coordinator(ledger, running.now, prepared.search_plan, observers=(*observers, retention))
        if coordinator.exhausted or stop.is_set():
            break
        if coordinator.paused:
            _wait(running, coordinator)
            continue
        running.start_clock()
        for observer in observers:
            observer.prepared(plan)
        executor = InlineExecutor() if inline else TuneExecutor()
        with executor.run(coordinator, plan, prepared.resources, stop, say) as measure:
            if measure is not None:  # the engine is still in memory
                closing.measure(measure)
        # The next coordinator counts failures from 0, so a failing sweep must not wait for it.
        if coordinator.failing is not None or not coordinator.paused:
            break
    if coordinator.failing is not None:
        raise LoratoryError(coordinator.failing)
    if stop.is_set():
        return "stopped"
    closing.measure()
    return coordinator.exhausted_reason or ""


def _wait(running: RunningSweep, coordinator: Coordinator) -> None:
    """Wait until a user resumes the paused sweep, or ``stop`` is set. The engine is closed, the clock stopped."""
    name = running.record.name
    running.say(f"{running.record.reference} is paused and holds no engine; resume it with: {program()} resume {name}")
    with running.hold.idle():
        while coordinator.paused and not running.stop.wait(POLL_S):
            coordinator.take_requests()


def _result(ledger: Ledger, sweep_id: int, location: Location, *, synced: bool) -> SweepResult:
    sweep = ledger.sweeps.get(sweep_id)
    return SweepResult(
        sweep=sweep,
        records=ledger.trials.all(sweep.id),
        requests=ledger.requests.all(sweep.id),
        finished=sweep.status is SweepStatus.FINISHED,
        reason=sweep.facts.end_reason or "",
        location=location,
        synced=synced,
        report=str(report_page(sweep)),
    )
