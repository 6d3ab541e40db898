"""The steps after a search: baseline, test split, general text, report.

If one fails, it leaves a note and the others still run.

Notes are sentences such as ``no baseline: …``. They are stored with the sweep, so that every view of it shows them, and
the next run of the same command repeats the failed steps.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.core.errors import in_short
from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.facts import FactChanges
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.forgetting import GENERAL
from orchestrator.evaluation.rows.row_checks import write_row_checks
from orchestrator.ledger.driver_store import Hold
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.protocol import ComparesWithBase
from orchestrator.objective.target_length import writes
from orchestrator.preparation.prepared import PreparedSweep
from orchestrator.report.files import report_page, write_report
from orchestrator.report.stored_summary import stored_summary
from orchestrator.search.confirmation import confirmation_result
from orchestrator.search.coordinator import FINALS_MISSING
from orchestrator.tracking.runs.reconciler import Reconciler
from orchestrator.training.answers import baseline_metrics
from orchestrator.training.engine import Measure
from orchestrator.training.final import (
    measure_base,
    measure_forgetting,
    measure_test,
    without_forgetting,
    without_test_metrics,
)

FLUSH_S = 120.0
"""Seconds that the end of a sweep waits for the tracking store; the next run writes the rest."""
SHIFT = ", shift sets"
"""Suffix of parts which are never repeated: an ended trial does not change."""
GENERAL_TEXT = "general text"
logger = logging.getLogger(__name__)
_Measuring: TypeAlias = Callable[
    [EnginePlan, Iterable[TrialRecord], Metric, Measure | None], Iterator[tuple[int, dict[str, float]]]
]
"""Measures trials; yields their numbers and new metrics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningSweep:
    """A sweep held by this driver.

    Attributes:
        ledger: holds the sweep.
        record: the sweep, as it was when this driver started.
        prepared: its plans, rows and objective.
        hold: the driver's lock.
        waited_s: start-up time of this driver, in seconds.
        stop: set by the caller to suspend the sweep.
        say: shows progress to the user.
    """

    ledger: Ledger
    record: SweepRecord
    prepared: PreparedSweep
    hold: Hold
    waited_s: float
    stop: threading.Event
    say: Callable[[str], None]

    @property
    def now(self) -> SweepRecord:
        """The sweep, with the running time of all drivers up to now."""
        return replace(self.record, elapsed_s=self.record.elapsed_s + self.hold.spent_s)

    def start_clock(self) -> None:
        """Count the time of this driver, start-up included, as time of the sweep; a second call does nothing."""
        if not self.hold.busy:
            self.hold.busy = True
            startup_s = self.record.facts.startup_s + self.waited_s
            self.ledger.sweeps.update(self.record.id, facts={"startup_s": startup_s})


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of one sweep.

    Attributes:
        running: the sweep.
        notes: one sentence for each failed step, by part: ``baseline``, ``trial 3``, ``report`` ...
    """

    running: RunningSweep
    notes: dict[str, str] = field(default_factory=dict)

    def measure(self, measure: Measure | None = None) -> None:
        """Fit the baseline, and measure each kept adapter on the test split and on general text, if not done yet.

        Args:
            measure: method of an open engine; a later call measures the adapters on which it fails. None: an engine
                is built, and each failure leaves a note.
        """
        running, prepared = self.running, self.running.prepared
        sweep = running.ledger.sweeps.get(running.record.id)
        records, folder = running.ledger.trials.all(sweep.id), Path(prepared.engine_plan.sweep_dir)
        trials = without_test_metrics(folder, records, prepared.metric, prepared.keep_adapters)
        plan, is_function = prepared.engine_plan, prepared.objective is None
        if not plan.can_measure("test"):
            trials = ()
        general: tuple[TrialRecord, ...] = ()
        if plan.data.general is not None and plan.can_measure(GENERAL):
            general = without_forgetting(folder, records, prepared.metric, prepared.keep_adapters)
        needs_baseline = not is_function and sweep.facts.baseline is None and "baseline" not in self.notes
        if not trials and not general and not needs_baseline:
            return
        running.start_clock()
        began, timer = time.time(), time.monotonic()
        # transformers and peft load models through global state of torch, so only one thread may load any.
        at_once = needs_baseline and not self._loads_base()
        with ThreadPoolExecutor(1) as pool:
            fitting = pool.submit(self._baseline) if at_once else None
            self._measure(trials, measure_test, "the test split", measure)
            self._measure(general, measure_forgetting, GENERAL_TEXT, measure)
            if running.stop.is_set():
                return
            self._check_rows()
            baseline = None if fitting is None else fitting.result()
        if needs_baseline and not at_once:
            baseline = self._baseline()
        closing = (began, began + time.monotonic() - timer)
        facts: FactChanges = {"closings": (*sweep.facts.closings, closing)}
        if baseline is not None:
            facts["baseline"] = baseline
        running.ledger.sweeps.update(sweep.id, facts=facts)

    def _measure(
        self, trials: Sequence[TrialRecord], measuring_of: _Measuring, where: str, measure: Measure | None
    ) -> None:
        running, remaining = self.running, [*trials]
        if remaining and not running.stop.is_set():
            numbers = ", ".join(str(trial.number) for trial in remaining)
            running.say(f"measuring the kept adapters on {where}: trials {numbers}")
        while remaining and not running.stop.is_set():
            plan, metric = running.prepared.engine_plan, running.prepared.metric
            measuring = measuring_of(plan, tuple(remaining), metric, measure)
            while True:
                try:
                    number, metrics = next(measuring)
                except StopIteration:
                    return
                except Exception as error:  # any failure to measure: the search is complete without it
                    logger.exception("trial %d was not measured on %s", remaining[0].number, where)
                    if measure is not None:
                        return
                    failed = remaining.pop(0).number
                    part = f"trial {failed}" + (f", {where}" if where == GENERAL_TEXT else "")
                    self.notes[part] = f"trial {failed} was not measured on {where}: {in_short(error)}"
                    break
                running.ledger.trials.add_final(running.record.id, number, metrics)
                del remaining[0]
                if running.stop.is_set():
                    return

    def _check_rows(self) -> None:
        running, prepared = self.running, self.running.prepared
        if prepared.objective is None or prepared.splits is None:
            return
        records, folder = running.ledger.trials.all(running.record.id), Path(prepared.engine_plan.sweep_dir)
        try:
            write_row_checks(folder, prepared.objective, prepared.splits, records, prepared.metric)
        except Exception as error:  # any error in a user's columns or labels: the search is complete without it
            logger.exception("the rows were not checked")
            self.notes["rows"] = f"no slices and suspected labels: {in_short(error)}"

    def _loads_base(self) -> bool:
        """Return whether the baseline is the base model itself, and not a classical model."""
        objective = self.running.prepared.objective
        return objective is not None and (isinstance(objective, ComparesWithBase) or writes(objective))

    def _baseline(self) -> dict[str, float] | None:
        prepared = self.running.prepared
        if prepared.objective is None or prepared.splits is None:
            return None
        try:
            if isinstance(prepared.objective, ComparesWithBase):
                found: Mapping[str, Any] = measure_base(prepared.engine_plan, prepared.objective, prepared.splits)
            else:
                found = baseline_metrics(prepared.engine_plan, prepared.objective, prepared.splits)
            return _finite_numbers(found)
        except (Exception, SystemExit) as error:  # a user's code raises anything: the search is complete without it
            logger.exception("the baseline could not be fitted")
            self.notes["baseline"] = f"no baseline: {in_short(error)}"
            return None

    def close(self, status: SweepStatus, reason: str, reconciler: Reconciler) -> bool:
        """Store the status and why the run ended, write the report, and wait for the tracker.

        Returns:
            Whether the tracker holds everything.
        """
        ledger, prepared = self.running.ledger, self.running.prepared
        try:
            records, facts = ledger.trials.all(self.running.record.id), FactChanges(end_reason=reason)
            if status is SweepStatus.FINISHED:
                facts["confirmation"] = confirmation_result(prepared.search_plan, records)
            sweep = ledger.sweeps.update(self.running.record.id, status=status, facts=facts)
            self.notes.update(_missing_finals(records))
            try:
                sweep = self._write_report(sweep)
            except Exception as error:  # any failure to draw or write: the leaderboard is on the screen
                logger.exception("the report was not written")
                self.notes["report"] = f"no report: {in_short(error)}"
            ledger.sweeps.update(sweep.id, facts={"notes": self.notes})
            synced = reconciler.flush(FLUSH_S)
            to_repeat = [part for part in self.notes if not part.endswith(SHIFT)]
            if synced and status is SweepStatus.FINISHED and not to_repeat:
                ledger.sweeps.update(sweep.id, facts={"request_digest": prepared.request_digest})
            return synced
        finally:
            reconciler.close(1.0)

    def _write_report(self, sweep: SweepRecord) -> SweepRecord:
        ledger = self.running.ledger
        sweep = ledger.sweeps.update(sweep.id, facts={"notes": self.notes})
        summary = stored_summary(ledger, sweep, self.notes)
        sweep = ledger.sweeps.update(sweep.id, facts={"importances": dict(summary.importances.values)})
        write_report(report_page(sweep).parent, summary, self.notes)
        return sweep


def _finite_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite metrics of a baseline as floats; JSON holds no other numbers."""
    if not isinstance(metrics, Mapping):
        raise TypeError(f"baseline() must return a mapping of metrics to numbers, got {type(metrics).__name__}")
    values = {str(name): float(value) for name, value in metrics.items() if value is not None}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _missing_finals(records: Sequence[TrialRecord]) -> dict[str, str]:
    """Return a note for each trial whose shift sets could not be measured."""
    return {
        f"trial {record.number}{SHIFT}": f"trial {record.number}: {record.reason}"
        for record in records
        if record.reason and FINALS_MISSING in record.reason
    }
