"""What follows a search: the baseline, the test split, the report. A failure in any of them is noted, and ends nothing.

The notes are sentences such as ``no baseline: …``. They are stored with the sweep, so that every view of it shows them,
and the next run of the same command tries again what they name.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.core.errors import in_short
from orchestrator.core.metric import Metric
from orchestrator.core.plan import EnginePlan
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.core.trial import TrialRecord
from orchestrator.finished import QUESTION, page_of
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.report.files import write_report
from orchestrator.report.of_sweep import summary_of
from orchestrator.search.coordinator import FINALS_MISSING
from orchestrator.search.ledger import Ledger
from orchestrator.tracking.reconciler import Reconciler
from orchestrator.training.engine import Measure
from orchestrator.training.final import measure_test, unmeasured

FLUSH_S = 120.0
"""Seconds that the end of a sweep waits for the tracking store; what is missing then is written by the next run."""
SHIFT = ", shift sets"
"""Ends the parts whose measurement is not repeated: an ended trial stays as it is."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """The end of one sweep.

    Attributes:
        sweep: the sweep as it was opened.
        begin: called before the first thing that takes time.
        metric, keep: the searched metric, and how many of the best adapters are measured on the test split.
        notes: what is missing, a sentence each, by part: ``baseline``, ``trial 3``, ``report`` ...
    """

    ledger: Ledger
    sweep: SweepRecord
    plan: EnginePlan
    objective: Objective
    splits: Splits
    metric: Metric
    keep: int
    stop: threading.Event
    say: Callable[[str], None]
    begin: Callable[[], None]
    notes: dict[str, str] = field(default_factory=dict)

    def measure(self, measure: Measure | None) -> None:
        """Fit the baseline, and read the test split for each kept adapter that was not measured on it.

        Args:
            measure: of an engine that still holds the base model; what it cannot measure is left to a later call.
                None: an engine is built, and what cannot be measured is noted.
        """
        sweep = self.ledger.sweep(self.sweep.id)
        records = self.ledger.records(sweep.id)
        todo = unmeasured(Path(self.plan.sweep_dir), records, self.metric, self.keep)
        fits = "baseline" not in sweep.facts and "baseline" not in self.notes
        if not todo and not fits:
            return
        self.begin()
        began, timer = time.time(), time.monotonic()
        with ThreadPoolExecutor(1) as beside:
            baseline = beside.submit(self._baseline) if fits else None
            if todo:
                self.say(f"measuring what is kept on the test split: trials {', '.join(str(t.number) for t in todo)}")
                self._measure(todo, measure)
            if self.stop.is_set():
                return
            found = None if baseline is None else baseline.result()
        facts: dict[str, Any] = {} if found is None else {"baseline": found}
        facts["closing"] = [*sweep.facts.get("closing", ()), (began, began + time.monotonic() - timer)]
        self.ledger.update_sweep(sweep.id, facts=facts)

    def _measure(self, todo: Sequence[TrialRecord], measure: Measure | None) -> None:
        left = [*todo]
        while left and not self.stop.is_set():
            measuring = measure_test(self.plan, left, self.metric, measure)
            while True:
                try:
                    number, measured = next(measuring)
                except StopIteration:
                    return
                except Exception as error:  # lets through any failure to measure: the search stands without it
                    logger.exception("trial %d was not measured on the test split", left[0].number)
                    if measure is not None:
                        return
                    told = f"trial {left[0].number} was not measured on the test split: {in_short(error)}"
                    self.notes[f"trial {left[0].number}"] = told
                    del left[0]
                    break
                self.ledger.add_final(self.sweep.id, number, measured)
                del left[0]
                if self.stop.is_set():
                    return

    def _baseline(self) -> dict[str, float] | None:
        try:
            return _numbers(self.objective.baseline(self.splits) or {})
        except Exception as error:  # lets through whatever a user's code raises: the search stands without a baseline
            logger.exception("the baseline could not be fitted")
            self.notes["baseline"] = f"no baseline: {in_short(error)}"
            return None

    def close(self, end: tuple[SweepStatus, str], reconciler: Reconciler, question: str | None) -> bool:
        """Store how the sweep ended, write its report and let the tracker catch up; return whether it did."""
        try:
            sweep = self.ledger.update_sweep(self.sweep.id, status=end[0], facts={"ended": end[1]})
            self.notes.update(_missing_finals(self.ledger.records(sweep.id)))
            try:
                sweep = self._write_report(sweep)
            except Exception as error:  # lets through any failure to draw or write it: the leaderboard is on the screen
                logger.exception("the report was not written")
                self.notes["report"] = f"no report: {in_short(error)}"
            self.ledger.update_sweep(sweep.id, facts={"notes": self.notes})
            synced = reconciler.flush(FLUSH_S)
            again = [part for part in self.notes if not part.endswith(SHIFT)]  # what the next run tries again
            if synced and end[0] is SweepStatus.FINISHED and not again:
                self.ledger.update_sweep(sweep.id, facts={QUESTION: question})
            return synced
        finally:
            reconciler.close(1.0)

    def _write_report(self, sweep: SweepRecord) -> SweepRecord:
        sweep = self.ledger.update_sweep(sweep.id, facts={"notes": self.notes})
        summary = summary_of(self.ledger, sweep, self.notes)
        sweep = self.ledger.update_sweep(sweep.id, facts={"importances": dict(summary.importances.values)})
        write_report(page_of(sweep).parent, summary, self.notes)
        return sweep


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """Return a baseline's metrics as floats; those that are not finite are left out, as JSON cannot hold them."""
    if not isinstance(found, Mapping):
        raise TypeError(f"baseline() must return a mapping of metrics to numbers, got {type(found).__name__}")
    values = {str(name): float(value) for name, value in found.items() if value is not None}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _missing_finals(records: Sequence[TrialRecord]) -> dict[str, str]:
    """Return a note for each trial that ended as it was told to, and whose shift sets could not be measured."""
    return {
        f"trial {record.number}{SHIFT}": f"trial {record.number}: {record.reason}"
        for record in records
        if record.reason and FINALS_MISSING in record.reason
    }
