"""An engine over a trial table: trials train in simulated time, and report the recorded values."""

from collections.abc import Mapping
from pathlib import Path

from orchestrator.core.errors import CutShortError, DivergedError
from orchestrator.core.metric import Metric
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.trial import Report, TrialState, TrialTask
from orchestrator.replay.replicates import Replicates
from orchestrator.replay.table import TableTrial
from orchestrator.training.engine import Capacity, StepResult, TrialRun


class TableEngine:
    """See ``orchestrator.training.engine.PackingEngine``.

    The trials of a pack advance together by the same number of samples. The pack has a constant throughput, whatever
    the number of its trials.

    Attributes:
        samples: training samples of all trials so far.
        replayed: the recorded trial of each started trial, by number.
        unknown: numbers of the trials that the record does not cover to their end.
    """

    def __init__(self, replicates: Replicates, metric: Metric, samples_per_s: float) -> None:
        """Start at time 0.

        Args:
            replicates: the recorded trials.
            metric: the metric of the recorded best checkpoints.
            samples_per_s: throughput of the whole pack.
        """
        self.samples = 0
        self.replayed: dict[int, TableTrial] = {}
        self.unknown: set[int] = set()
        self._replicates = replicates
        self._metric = metric
        self._samples_per_s = samples_per_s
        self._progress: dict[int, int] = {}

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return self.samples / self._samples_per_s

    def start(self, task: TrialTask) -> "TableRun":
        """Return the trial's run; it resumes where an earlier run of the trial was closed."""
        recorded = self.replayed.setdefault(task.number, self._replicates.of(task))
        return TableRun(self, task.number, recorded, self._metric)

    def capacity(self, most: int, *, measure: bool) -> Capacity:  # noqa: ARG002  (nothing to measure in a table)
        """Return ``most``."""
        return Capacity(slots=most, why="")

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        """Raise: a table has no checkpoints."""
        raise NotImplementedError(f"{checkpoint} of trial {task.number} cannot be measured on {split}: it is recorded")

    def step(self, wanted: Mapping[TrialRun, int]) -> dict[TrialRun, StepResult]:
        """Advance all trials to the nearest of their report points; return the results of the trials there.

        A trial whose record ends before its point is cut short at once, without training.
        """
        runs = {run: point for run, point in wanted.items() if isinstance(run, TableRun)}
        cut: dict[TrialRun, StepResult] = {}
        for run, point in runs.items():
            if not run.covers(point):
                self.unknown.add(run.number)
                cut[run] = run.end_of_record()
        if cut:
            return cut
        left = {run: point - self._progress.get(run.number, 0) for run, point in runs.items()}
        samples = min(left.values())
        began_at = {run: run.began_at if run.began_at is not None else self.time() for run in runs}
        self.samples += samples * len(runs)
        arrived: dict[TrialRun, StepResult] = {}
        for run, point in runs.items():
            self._progress[run.number] = self._progress.get(run.number, 0) + samples
            run.began_at = began_at[run]
            if left[run] == samples:
                arrived[run] = run.result(point, self.time())
                run.began_at = None
        return arrived

    def close(self) -> None:
        """Do nothing: a table holds no memory of a device."""


class TableRun:
    """See ``orchestrator.training.engine.TrialRun``.

    Attributes:
        number: the trial's number.
        began_at: begin of the work for the next report, in simulated seconds; None: not begun.
    """

    def __init__(self, engine: TableEngine, number: int, recorded: TableTrial, metric: Metric) -> None:
        self.number = number
        self.began_at: float | None = None
        self._engine = engine
        self._recorded = recorded
        self._metric = metric
        self._reports = {report.samples: report for report in recorded.reports}

    def covers(self, point: int) -> bool:
        """Return whether the record tells the trial's course up to a report point: a report, or a failure before it."""
        return point in self._reports or self._recorded.state is TrialState.FAIL

    def end_of_record(self) -> CutShortError:
        """Return the error of a trial whose record ends before its next report point."""
        last = max(self._reports, default=0)
        reason = f" ({self._recorded.reason})" if self._recorded.reason else ""
        return CutShortError(f"recorded up to {last} samples{reason}; unknown beyond")

    def result(self, point: int, now: float) -> Report | DivergedError:
        """Return the recorded report at a point; a recorded failure if there is none."""
        report = self._reports.get(point)
        if report is None:
            return DivergedError(self._recorded.reason or "failed")
        return Report(
            trial=self.number,
            nominal_samples=point,
            metrics=report.metrics,
            checkpoint=None,
            started_at=now if self.began_at is None else self.began_at,
            ended_at=now,
        )

    def advance(self, nominal_samples: int) -> Report:
        """Advance this trial alone to a report point and return its report."""
        result = self._engine.step({self: nominal_samples})[self]
        if not isinstance(result, Report):
            raise result
        return result

    def finish(self, best_samples: int) -> Mapping[str, float]:
        """Return the recorded final metrics of the best checkpoint; nothing if the recorded best is another one."""
        best = self._recorded.best(self._metric)
        return self._recorded.final if best is not None and best.samples == best_samples else {}

    def close(self) -> None:
        """Do nothing: the engine keeps the trial's progress."""
