"""The steps after a search: baseline, test split, report. If one fails, the failure is noted and the others still run.

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
from typing import Any, NamedTuple

from orchestrator.core.errors import in_short
from orchestrator.core.plan import EnginePlan
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.core.trial import TrialRecord
from orchestrator.finished import REQUEST_DIGEST, page_of
from orchestrator.ledger.driver_store import Hold
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.report.files import write_report
from orchestrator.report.of_sweep import summary_of
from orchestrator.search.coordinator import FINALS_MISSING
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.reconciler import Reconciler
from orchestrator.training.engine import Measure
from orchestrator.training.final import measure_test, unmeasured

FLUSH_S = 120.0
"""Seconds that the end of a sweep waits for the tracking store; what is missing then is written by the next run."""
SHIFT = ", shift sets"
"""Ends the parts whose measurement is not repeated: an ended trial stays as it is."""
logger = logging.getLogger(__name__)


class OpenSweep(NamedTuple):
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
            self.ledger.sweeps.update(self.record.id, facts={"startup_s": startup_s})


@dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """The end of one sweep.

    Attributes:
        notes: what is missing, a sentence each, by part: ``baseline``, ``trial 3``, ``report`` ...
    """

    where: OpenSweep
    spec: SweepSpec
    objective: Objective
    splits: Splits
    stop: threading.Event
    say: Callable[[str], None]
    notes: dict[str, str] = field(default_factory=dict)

    def measure(self, measure: Measure | None) -> None:
        """Fit the baseline, and read the test split for each kept adapter that was not measured on it.

        Args:
            measure: of an engine that still holds the base model; what it cannot measure is left to a later call.
                None: an engine is built, and what cannot be measured is noted.
        """
        ledger, plan, spec = self.where.ledger, self.where.plan, self.spec
        sweep = ledger.sweeps.get(self.where.record.id)
        todo = unmeasured(Path(plan.sweep_dir), ledger.trials.all(sweep.id), spec.metric, spec.tracking.keep_adapters)
        fits = "baseline" not in sweep.facts and "baseline" not in self.notes
        if not todo and not fits:
            return
        self.where.begin()
        began, timer = time.time(), time.monotonic()
        with ThreadPoolExecutor(1) as beside:
            baseline = beside.submit(self._baseline) if fits else None
            if todo:
                self.say(
                    f"measuring the kept adapters on the test split: trials {', '.join(str(t.number) for t in todo)}"
                )
                self._measure(todo, measure)
            if self.stop.is_set():
                return
            found = None if baseline is None else baseline.result()
        facts: dict[str, Any] = {} if found is None else {"baseline": found}
        facts["closing"] = [*sweep.facts.get("closing", ()), (began, began + time.monotonic() - timer)]
        ledger.sweeps.update(sweep.id, facts=facts)

    def _measure(self, todo: Sequence[TrialRecord], measure: Measure | None) -> None:
        left = [*todo]
        while left and not self.stop.is_set():
            measuring = measure_test(self.where.plan, left, self.spec.metric, measure)
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
                self.where.ledger.trials.add_final(self.where.record.id, number, measured)
                del left[0]
                if self.stop.is_set():
                    return

    def _baseline(self) -> dict[str, float] | None:
        try:
            return _numbers(self.objective.baseline(self.splits) or {})
        except (Exception, SystemExit) as error:  # lets through what a user's code raises: the search stands without it
            logger.exception("the baseline could not be fitted")
            self.notes["baseline"] = f"no baseline: {in_short(error)}"
            return None

    def close(self, end: tuple[SweepStatus, str], reconciler: Reconciler, question: str | None) -> bool:
        """Store how the sweep ended, write its report and let the tracker catch up; return whether it did."""
        ledger = self.where.ledger
        try:
            sweep = ledger.sweeps.update(self.where.record.id, status=end[0], facts={"ended": end[1]})
            self.notes.update(_missing_finals(ledger.trials.all(sweep.id)))
            try:
                sweep = self._write_report(sweep)
            except Exception as error:  # lets through any failure to draw or write it: the leaderboard is on the screen
                logger.exception("the report was not written")
                self.notes["report"] = f"no report: {in_short(error)}"
            ledger.sweeps.update(sweep.id, facts={"notes": self.notes})
            synced = reconciler.flush(FLUSH_S)
            again = [part for part in self.notes if not part.endswith(SHIFT)]  # what the next run tries again
            if synced and end[0] is SweepStatus.FINISHED and not again:
                ledger.sweeps.update(sweep.id, facts={REQUEST_DIGEST: question})
            return synced
        finally:
            reconciler.close(1.0)

    def _write_report(self, sweep: SweepRecord) -> SweepRecord:
        sweep = self.where.ledger.sweeps.update(sweep.id, facts={"notes": self.notes})
        summary = summary_of(self.where.ledger, sweep, self.notes)
        sweep = self.where.ledger.sweeps.update(sweep.id, facts={"importances": dict(summary.importances.values)})
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
