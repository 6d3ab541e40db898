"""The slot host: the training side of an executor, with one engine and one trial per slot.

It carries out orders, and knows nothing of Ray, other processes or decisions. With the solo engine it has one slot.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from orchestrator.cluster.orders import (
    Advance,
    Assignment,
    CutShort,
    Diverged,
    Finish,
    Finished,
    Reported,
    StepOutcome,
    Unusable,
)
from orchestrator.core.errors import (
    CutShortError,
    DivergedError,
    LoratoryError,
    ObjectiveError,
    SuspendedError,
    in_short,
)
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.system.disk import suspending
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.trial import TrialTask
from orchestrator.training.checkpoints import trial_folder
from orchestrator.training.engine import Capacity, Engine, PackingEngine, TrialRun, step_runs

EngineFactory: TypeAlias = Callable[[EnginePlan], Engine]
"""Builds an engine; picklable, for calls in another process."""

logger = logging.getLogger(__name__)


class _CheckpointWarnings(logging.Handler):
    """Collects the warnings about damaged checkpoints until the next report takes them to the driver."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def take(self) -> tuple[str, ...]:
        """Return the warnings since the last call."""
        lines, self._lines = self._lines, []
        return tuple(lines)


class SlotHost:
    """Carries out orders with one engine, built at the first order and kept for later trials.

    After its order a trial is idle until its next order. Its run stays open, which makes the next order cheap, until
    another trial needs the slot. Then the trial starts again from its checkpoint.
    """

    def __init__(self, plan: EnginePlan, build: EngineFactory, slots: int = 1) -> None:
        self._plan = plan
        self._build = build
        self._slots = slots
        self._engine: Engine | None = None
        self._runs: dict[int, TrialRun] = {}
        self._assigned: dict[int, Assignment] = {}
        self._reported = False
        self._warnings = _CheckpointWarnings()
        trial_folder.logger.addHandler(self._warnings)

    @property
    def busy(self) -> bool:
        """Whether any trial has an open order."""
        return bool(self._assigned)

    def capacity(self, most: int, *, measure: bool) -> Capacity:
        """Return the capacity of the engine, at most ``most`` trials, and use as many slots; see ``PackingEngine``.

        Raises:
            LoratoryError: the engine cannot be built.
        """
        engine = self._ready_engine()
        assert isinstance(engine, PackingEngine), "only a packing engine has a capacity"
        capacity = engine.capacity(most, measure=measure)
        self._slots = capacity.slots
        return capacity

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        """Measure a checkpoint with the open engine; see ``Engine.measure``."""
        return self._ready_engine().measure(checkpoint, task, split)

    def take(self, assignment: Assignment) -> None:
        """Accept an order, which replaces an open order of the same trial. Work on it begins at the next step."""
        self._assigned[assignment.task.number] = assignment

    def step(self) -> Mapping[int, StepOutcome]:
        """Work on all orders for the shortest possible time, and return the outcomes by trial number.

        The packed engine trains a few batches of every trial, the solo engine to the next report. A final measurement
        comes first, alone, because it frees its slot.

        Raises:
            Exception: any error of the engine; its cause may be any trial. The host must then be closed.
        """
        assert self._assigned, "a step without an order"
        try:
            engine = self._ready_engine()
        except LoratoryError as error:
            outcomes = self._unusable(error)
        else:
            try:
                with suspending(self._plan.sweep_dir):
                    outcomes = self._finish_one(engine) or self._train(engine)
            except SuspendedError as error:
                logger.exception("the sweep is suspended")
                outcomes = self._unusable(error)
        for number in outcomes:
            self._assigned.pop(number, None)
        return outcomes

    def release(self, number: int) -> None:
        """Close a trial's run, if it is open, and drop its order."""
        self._assigned.pop(number, None)
        run = self._runs.pop(number, None)
        if run is not None:
            run.close()

    def close(self) -> None:
        """Close all open runs of trials, and the engine."""
        for number in list(self._runs):
            self.release(number)
        self._assigned.clear()
        trial_folder.logger.removeHandler(self._warnings)
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _ready_engine(self) -> Engine:
        if self._engine is not None:
            return self._engine
        try:
            with suspending(self._plan.sweep_dir):
                self._engine = self._build(self._plan)
        except LoratoryError:
            raise
        except Exception as error:  # every error becomes a LoratoryError with its cause
            logger.exception("the engine cannot be built")
            raise LoratoryError(f"the engine cannot be built: {in_short(error)}") from error
        return self._engine

    def _unusable(self, error: LoratoryError) -> dict[int, StepOutcome]:
        return {number: Unusable(error=error) for number in self._assigned}

    def _finish_one(self, engine: Engine) -> dict[int, StepOutcome]:
        for number, assignment in self._assigned.items():
            if not isinstance(assignment.order, Finish):
                continue
            best = assignment.order.best_samples
            metrics = {} if best is None else dict(self._open(engine, assignment.task).finish(best))
            self.release(number)
            return {number: Finished(number=number, metrics=metrics)}
        return {}

    def _train(self, engine: Engine) -> dict[int, StepOutcome]:
        wanted: dict[TrialRun, int] = {}
        numbers: dict[TrialRun, int] = {}
        for number, assignment in self._assigned.items():
            assert isinstance(assignment.order, Advance)
            run = self._open(engine, assignment.task)
            wanted[run], numbers[run] = assignment.order.nominal_samples, number
        try:
            results = step_runs(engine, wanted)
        except ObjectiveError as error:
            if self._reported or 0 not in numbers.values():
                raise
            return self._unusable(error)  # the sweep's first report: every trial would fail
        outcomes: dict[int, StepOutcome] = {}
        for run, result in results.items():
            number = numbers[run]
            if isinstance(result, DivergedError):
                self.release(number)
                outcomes[number] = Diverged(number=number, reason=str(result))
            elif isinstance(result, CutShortError):
                self.release(number)
                outcomes[number] = CutShort(number=number, reason=str(result))
            else:
                self._reported = True
                outcomes[number] = Reported(report=result, notes=self._warnings.take())
        return outcomes

    def _open(self, engine: Engine, task: TrialTask) -> TrialRun:
        """Return a trial's run. Before a start, close the runs of idle trials as far as their slots are needed."""
        if task.number not in self._runs:
            idle = [number for number in self._runs if number not in self._assigned]
            for number in idle[: max(0, len(self._runs) + 1 - self._slots)]:
                self.release(number)
            self._runs[task.number] = engine.start(task)
        return self._runs[task.number]
