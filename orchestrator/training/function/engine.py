"""The function engine: each trial is a process that runs the user's function from report to report.

The process starts when the trial trains. It waits inside ``report`` until the trial's next order, and a closed trial
ends there. A checkpoint is the folder given to ``report``, under the name ``adapter`` as in the other engines.
"""

import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.core.errors import CutShortError, DivergedError, LoratoryError, ObjectiveError, SuspendedError
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.tasks.function import FunctionPlan, change_of
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.evaluation.gap import gaps
from orchestrator.training.checkpoints.heartbeat import Heartbeat
from orchestrator.training.checkpoints.trial_folder import ADAPTER, STATE, TrialFolder
from orchestrator.training.function.child import RESUME
from orchestrator.training.function.process import GRACE_S, FunctionProcess

WORK_FOLDER = "work"
"""The empty folder given to the function, inside the trial's scratch folder."""
LOG = "function.log"
"""The output of a trial's function, beside its checkpoints."""


class FunctionEngine:
    """Trains each trial with the plan's function; see ``Engine``."""

    def __init__(self, plan: EnginePlan, grace_s: float = GRACE_S) -> None:
        """Start nothing yet; each trial starts its process when it trains.

        Args:
            plan: the engine's plan.
            grace_s: time that a closed trial has to end, in seconds.
        """
        assert plan.function is not None, "a plan of another engine"
        self.plan = plan
        self.grace_s = grace_s
        self.function: FunctionPlan = plan.function
        self._open = True

    def start(self, task: TrialTask) -> "FunctionRun":
        """Return the trial's run.

        Raises:
            LoratoryError: the engine is closed.
        """
        if not self._open:
            raise LoratoryError("the engine is closed")
        return FunctionRun(self, task)

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        """Return the measurement of a checkpoint by the function ``function.test``.

        Raises:
            LoratoryError: the sweep has no such function, its file has changed, or it raises.
            ObjectiveError: its result lacks a metric of the sweep file, or its rows break a rule.
        """
        test = self.function.test
        if test is None or split not in self.function.measured_splits:
            raise LoratoryError(f"a function's checkpoint cannot be measured on {split}: set function.test")
        folder = self.folder(task)
        (folder.scratch / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
        adapter = checkpoint / ADAPTER if (checkpoint / ADAPTER).is_dir() else checkpoint
        request = self.request(task, folder) | {
            "name": test,
            "split": split,
            "checkpoint": str(adapter),
        }
        process = FunctionProcess(request, folder.scratch / "request.json", folder.path / LOG, self.function.python)
        try:
            message = process.receive()
        finally:
            process.close()
            folder.clear_scratch()
        if message["kind"] != "result":
            raise self.error(message, folder)
        self.require_metrics(message["metrics"], f"the result of {test}", "")
        return _measurement(message, test)

    def close(self) -> None:
        """Start no further trials."""
        self._open = False

    def folder(self, task: TrialTask) -> TrialFolder:
        """Return the folder of a trial's checkpoints."""
        owner = Owner(sweep=self.plan.sweep_key, task=task)
        return TrialFolder(Path(self.plan.sweep_dir), task.number, STATE, owner)

    def request(self, task: TrialTask, folder: TrialFolder) -> dict[str, Any]:
        """Return the request of a trial for its process, from the beginning.

        Raises:
            SuspendedError: the function's file is not the one with which the sweep started.
        """
        change = change_of(self.function.path, self.function.digest)
        if change is not None:
            raise SuspendedError(f"{change}: restore it, or run the sweep with --fresh")
        points = self.plan.timetable.of(task.settings)
        return {
            "path": self.function.path,
            "name": self.function.name,
            "split": None,
            "values": dict(task.settings.values),
            "trial": task.number,
            "seed": task.seed,
            "samples": points[-1],
            "report_points": points,
            "stored": [point for point in points if folder.report(point) is not None],
            "folder": str(folder.scratch / WORK_FOLDER),
            "checkpoint": None,
            "start_samples": 0,
            "threads": self.plan.threads,
        }

    def require_metrics(self, metrics: Mapping[str, float], place: str, prefix: str) -> None:
        """Check that each metric of the sweep file is there.

        Args:
            metrics: values by name.
            place: says where they come from.
            prefix: the split before each name, such as ``val/``.

        Raises:
            ObjectiveError: one is missing.
        """
        missing = [f"{prefix}{name}" for name in self.function.metrics if f"{prefix}{name}" not in metrics]
        if missing:
            raise ObjectiveError(
                f"{self.function.path}: {place} lacks {missing[0]}, a metric of the sweep file; it has "
                f"{', '.join(metrics) or 'none'}"
            )

    def error(self, message: Mapping[str, Any], folder: TrialFolder) -> LoratoryError | MemoryError:
        """Return the error of a function as an exception of the engine."""
        if message["kind"] != "raised":
            return ObjectiveError(f"{self.function.path}: the function ended without a result")
        line = "" if message["line"] is None else f":{message['line']}"
        text = f"{self.function.path}{line}: {message['error']}; the whole output is in {folder.path / LOG}"
        return MemoryError(text) if message["memory"] else ObjectiveError(text)


class FunctionRun:
    """One trial; see ``TrialRun``."""

    def __init__(self, engine: FunctionEngine, task: TrialTask) -> None:
        self._engine = engine
        self._task = task
        self._folder = engine.folder(task)
        self._points = engine.plan.timetable.of(task.settings)
        self._heartbeat = Heartbeat(self._folder)
        self._process: FunctionProcess | None = None
        self._started_at = 0.0

    def advance(self, nominal_samples: int) -> Report:
        """Run the function to a report point, or return the report on disk."""
        if nominal_samples not in self._points:
            raise ValueError(f"one of the report points {self._points} is needed, got {nominal_samples}")
        while (stored := self._folder.report(nominal_samples)) is None:
            try:
                self._run_to_next_report()
            except BaseException:  # any error, also Ctrl-C: end the process, then raise it again
                self.close()
                raise
        return stored

    def finish(self, best_samples: int) -> Mapping[str, float]:  # noqa: ARG002  (the protocol's)
        """End the function; a function has no shift sets."""
        self.close()
        return {}

    def close(self) -> None:
        """End the process; calling it again does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.close(self._engine.grace_s)
            self._folder.clear_scratch()

    def _run_to_next_report(self) -> None:
        if self._process is None:
            self._process = self._start()
            if self._process is None:  # the newest checkpoint covered the missing reports
                return
        else:
            self._process.resume()
        self._started_at = time.time()
        while True:
            message = self._process.receive()
            if message["kind"] == "beat":
                self._heartbeat.beat(message["samples"])
            elif message["kind"] == "report":
                self._commit(message)
                return
            elif message["kind"] == "returned":
                raise self._ended_early()
            else:
                raise self._engine.error(message, self._folder)

    def _start(self) -> FunctionProcess | None:
        """Start the process from the newest whole checkpoint; None if only reports of that checkpoint were missing."""
        folder = self._folder
        folder.clear_scratch()
        (folder.scratch / WORK_FOLDER).mkdir(parents=True)
        request = self._engine.request(self._task, folder)
        newest = folder.newest_whole()
        if newest is not None:
            state = json.loads((folder.checkpoint(newest) / STATE).read_text(encoding="utf-8"))
            covered = {point: state["samples"] for point in self._points if newest <= point <= state["samples"]}
            if folder.report_again(newest, covered):
                return None
            request |= {"checkpoint": str(self._restored(newest)), "start_samples": state["samples"]}
        function = self._engine.function
        return FunctionProcess(request, folder.scratch / "request.json", folder.path / LOG, function.python)

    def _restored(self, nominal_samples: int) -> Path:
        """Return a copy of a checkpoint as the function wrote it."""
        written, copy = self._folder.checkpoint(nominal_samples), self._folder.scratch / "checkpoint"
        shutil.copytree(written / ADAPTER, copy)
        if (written / RESUME).is_dir():
            shutil.copytree(written / RESUME, copy / RESUME)
        return copy

    def _commit(self, message: Mapping[str, Any]) -> None:
        """Write the reports of all report points that a message covers, each with the checkpoint."""
        samples, folder = message["samples"], self._folder
        metrics = self._metrics(message)
        for point in [point for point in self._points if point <= samples and folder.report(point) is None]:
            saved = message["checkpoint"] is not None
            report = Report(
                trial=self._task.number,
                nominal_samples=point,
                metrics=metrics,
                checkpoint=folder.reference(point) if saved else None,
                started_at=self._started_at,
                ended_at=time.time(),
            )
            copy = folder.scratch / f"report-{point}"
            copy.mkdir(parents=True)
            if saved:
                shutil.copytree(message["checkpoint"], copy / ADAPTER)
                if (copy / ADAPTER / RESUME).is_dir():
                    (copy / ADAPTER / RESUME).rename(copy / RESUME)
                (copy / STATE).write_text(json.dumps({"samples": samples}), encoding="utf-8")
            folder.commit(copy, report)

    def _metrics(self, message: Mapping[str, Any]) -> dict[str, float]:
        """Return the metrics of a report with those of the engine.

        Raises:
            DivergedError: the searched metric or the validation loss is not finite.
            ObjectiveError: a metric of the sweep file is missing.
        """
        metrics, samples = dict(message["metrics"]), message["samples"]
        self._engine.require_metrics(metrics, f"the report at {samples:,} samples", "val/")
        for name in dict.fromkeys((self._engine.plan.metric, "val/loss")):
            if not math.isfinite(metrics.get(name, 0.0)):
                raise DivergedError(f"{name} is {metrics[name]} at {samples:,} samples")
        by_split = {
            split: {name.partition("/")[2]: value for name, value in metrics.items() if name.startswith(f"{split}/")}
            for split in ("val", "train")
        }
        return {
            **metrics,
            **gaps(by_split["val"], by_split["train"]),
            "progress/samples": float(samples),
            "memory/peak_mb": message["peak_mb"],
            "time/train_s": time.time() - self._started_at,
        }

    def _ended_early(self) -> LoratoryError:
        """Return the error of a function that returned before its last report point."""
        path, reported = self._engine.function.path, [point for point in self._points if self._folder.report(point)]
        if not reported:
            return ObjectiveError(
                f"{path}: the function returned without a report; call report(metrics, samples=...) at "
                f"{self._points[0]:,} samples or later"
            )
        done, last = reported[-1], self._points[-1]
        return CutShortError(f"the function returned after its report at {done:,} of {last:,} samples")


def _measurement(message: Mapping[str, Any], test: str) -> Measurement:
    """Return the result of a test function.

    Raises:
        ObjectiveError: the rows differ in number, or have no losses.
    """
    rows = {name: tuple(values) for name, values in (message["rows"] or {}).items()}
    if rows and (not rows.get("losses") or len({len(values) for values in rows.values()}) > 1):
        raise ObjectiveError(f"{test}: rows need losses, and as many values of each kind")
    losses = rows.get("losses", ())
    measures = RowMeasures(
        losses=losses,
        units=rows.get("units", (1.0,) * len(losses)),
        predictions=rows.get("predictions", ()),
        references=rows.get("references", ()),
    )
    return Measurement(metrics=message["metrics"], rows=measures)
