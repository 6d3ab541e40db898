"""The side of an executor that trains: one engine, and as many trials at once as it has slots for.

It knows nothing of Ray, of other processes or of decisions; it does what it was ordered to. With an engine that trains
one trial at a time it is a host of one slot.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from orchestrator.cluster.orders import Advance, Assignment, Diverged, Finish, Finished, Reported, StepOutcome, Unusable
from orchestrator.core.disk import suspending
from orchestrator.core.errors import DivergedError, LoratoryError, ObjectiveError, SuspendedError, in_short
from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import Report, TrialTask
from orchestrator.training.checkpoints import trial_folder
from orchestrator.training.engine import Capacity, Engine, PackingEngine, TrialRun

EngineFactory: TypeAlias = Callable[[EnginePlan], Engine]
"""Builds an engine; picklable, because it may be called in another process."""

logger = logging.getLogger(__name__)


class _Heard(logging.Handler):
    """Keeps what engines say of damaged checkpoints, until a report takes it to the driver."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def taken(self) -> tuple[str, ...]:
        """Return what was said since the last call."""
        lines, self._lines = self._lines, []
        return tuple(lines)


class SlotHost:
    """Carries out orders with one engine, which is built at the first order and kept for later trials.

    A trial whose order is carried out is idle until it is given another. Its run stays open, so that going on is
    cheap, until its slot is needed; after that it is started again from its checkpoint.
    """

    def __init__(self, plan: EnginePlan, build: EngineFactory, slots: int = 1) -> None:
        self._plan = plan
        self._build = build
        self._slots = slots
        self._engine: Engine | None = None
        self._runs: dict[int, TrialRun] = {}
        self._assigned: dict[int, Assignment] = {}
        self._reported = False
        self._heard = _Heard()
        trial_folder.logger.addHandler(self._heard)

    @property
    def busy(self) -> bool:
        """Whether any trial has an order that is not carried out."""
        return bool(self._assigned)

    def capacity(self, most: int, *, measure: bool) -> Capacity:
        """Return how many trials to give it at once, at most ``most``, and hold as many; see ``PackingEngine``.

        Raises:
            LoratoryError: the engine cannot be built.
        """
        engine = self._ready_engine()
        assert isinstance(engine, PackingEngine), "an engine that trains one at a time has capacity for one"
        found = engine.capacity(most, measure=measure)
        self._slots = found.slots
        return found

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Mapping[str, float]:
        """Measure a checkpoint with the engine that trains; see ``Engine.measure``."""
        return self._ready_engine().measure(checkpoint, task, split)

    def take(self, assignment: Assignment) -> None:
        """Accept an order; it takes the place of one that the same trial still has. It is begun at the next step."""
        self._assigned[assignment.task.number] = assignment

    def step(self) -> Mapping[int, StepOutcome]:
        """Work on all orders for as short as the engine can, and return what came of it, by the trials' numbers.

        That is a few batches of every trial if the engine packs, and a whole report if it does not. A trial to be
        measured goes first, alone, for it frees its slot.

        Raises:
            Exception: whatever the engine lets through; no trial can be blamed for it, and the host must not be used
                again, only closed.
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
        """Close a trial's run, if it is open, and forget its order."""
        self._assigned.pop(number, None)
        run = self._runs.pop(number, None)
        if run is not None:
            run.close()

    def close(self) -> None:
        """Free the runs and the engine."""
        for number in list(self._runs):
            self.release(number)
        self._assigned.clear()
        trial_folder.logger.removeHandler(self._heard)
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
        except Exception as error:  # every cause is let through: as an error that says what it concerns
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
            found = engine.step(wanted) if isinstance(engine, PackingEngine) else _one_by_one(wanted)
        except ObjectiveError as error:
            if self._reported or 0 not in numbers.values():
                raise
            return self._unusable(error)  # at the sweep's first report: it will be so in every trial
        outcomes: dict[int, StepOutcome] = {}
        for run, result in found.items():
            number = numbers[run]
            if isinstance(result, DivergedError):
                self.release(number)
                outcomes[number] = Diverged(number=number, reason=str(result))
            else:
                self._reported = True
                outcomes[number] = Reported(report=result, told=self._heard.taken())
        return outcomes

    def _open(self, engine: Engine, task: TrialTask) -> TrialRun:
        """Return a trial's run; to start it, those of idle trials are closed as far as their slots are needed."""
        if task.number not in self._runs:
            idle = [number for number in self._runs if number not in self._assigned]
            for number in idle[: max(0, len(self._runs) + 1 - self._slots)]:
                self.release(number)
            self._runs[task.number] = engine.start(task)
        return self._runs[task.number]


def _one_by_one(wanted: Mapping[TrialRun, int]) -> dict[TrialRun, Report | DivergedError]:
    """Do what ``PackingEngine.step`` does, whole reports at a time, with an engine that does not pack."""
    found: dict[TrialRun, Report | DivergedError] = {}
    for run, samples in wanted.items():
        try:
            found[run] = run.advance(samples)
        except DivergedError as error:
            found[run] = error
    return found
