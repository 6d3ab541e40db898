"""The side of an executor that trains: one process, one engine, one trial at a time.

It knows nothing of Ray, of other trials or of decisions; it does what it was ordered to.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable
from typing import TypeAlias

from orchestrator.cluster.orders import Advance, Assignment, Diverged, Finished, Order, Outcome, Reported, Unusable
from orchestrator.core.errors import DivergedError, LoratoryError
from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import TrialTask
from orchestrator.training.engine import Engine, TrialRun

EngineFactory: TypeAlias = Callable[[EnginePlan], Engine]
"""Builds an engine; picklable, because it may be called in another process."""

logger = logging.getLogger(__name__)


class TrialWorker:
    """Carries out orders with one engine, which is built at the first order and kept for later trials."""

    def __init__(self, plan: EnginePlan, build: EngineFactory) -> None:
        self._plan = plan
        self._build = build
        self._engine: Engine | None = None
        self._run: TrialRun | None = None
        self._task: TrialTask | None = None
        self._order: Order | None = None

    def take(self, assignment: Assignment) -> None:
        """Accept a trial. An open run of another trial is closed; one of the same trial simply goes on."""
        if self._task != assignment.task:
            self._close_run()
        self._task, self._order = assignment.task, assignment.order

    def step(self) -> Outcome:
        """Carry out the order and return what came of it.

        Raises:
            Exception: whatever the engine lets through; the worker must not be used again, only closed.
        """
        assert self._task is not None, "a step without an assignment"
        try:
            engine = self._ready_engine()
        except LoratoryError as error:
            return Unusable(error=error)
        except Exception as error:  # every cause is let through: as an outcome, since it concerns all trials
            logger.exception("the engine cannot be built")
            return Unusable(error=LoratoryError(f"the engine cannot be built: {type(error).__name__}: {error}"))
        try:
            return self._carry_out(engine, self._task)
        except DivergedError as error:
            self._close_run()
            return Diverged(number=self._task.number, reason=str(error))

    def close(self) -> None:
        """Free the run and the engine."""
        self._close_run()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _carry_out(self, engine: Engine, task: TrialTask) -> Outcome:
        order = self._order
        assert order is not None, "a step without an order"
        if isinstance(order, Advance):
            report = self._open_run(engine, task).advance(order.nominal_samples)
            self._order = self._following(order)
            return Reported(report=report)
        best = order.best_samples
        metrics = {} if best is None else self._open_run(engine, task).finish(best)
        self._close_run()
        return Finished(number=task.number, metrics=dict(metrics))

    def _following(self, order: Advance) -> Order | None:
        points = self._plan.report_points
        index = bisect_right(points, order.nominal_samples)
        return Advance(nominal_samples=points[index]) if index < len(points) else None

    def _ready_engine(self) -> Engine:
        if self._engine is None:
            self._engine = self._build(self._plan)
        return self._engine

    def _open_run(self, engine: Engine, task: TrialTask) -> TrialRun:
        if self._run is None:
            self._run = engine.start(task)
        return self._run

    def _close_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.close()
