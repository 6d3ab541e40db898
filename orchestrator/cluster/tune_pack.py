"""Packed trials under Tune: every trial is a proxy, and one actor trains for all of them.

Tune believes in one process per trial. So a proxy holds no accelerator, never imports torch, and asks the actor to
carry out its order; it joins the loop that is running at the next step. The actor owns the engine. If it dies,
Ray starts another, and every trial that had an order there has crashed.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import ray
from ray.actor import ActorHandle, ActorProxy
from ray.exceptions import RayActorError, RayTaskError

from orchestrator.cluster.host import EngineFactory, SlotHost
from orchestrator.cluster.orders import Assignment, Crashed, StepOutcome
from orchestrator.cluster.placement import Placement
from orchestrator.cluster.tune_trial import TuneTrial, redirect_output
from orchestrator.core.errors import LoratoryError, in_short
from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import TrialTask
from orchestrator.training.engine import Capacity, Measure

_PATIENCE_S = 5.0
_DIED = "the process of the pack died; too little memory is the usual cause"

R = TypeVar("R")

logger = logging.getLogger(__name__)


class PackActor:
    """A Ray actor around a slot host, which steps in a thread of its own for as long as any trial has an order."""

    def __init__(self, plan: EnginePlan, build: EngineFactory, slots: int, log: str) -> None:
        """Start the thread; the engine is built at the first order."""
        redirect_output(Path(log))
        self._host = SlotHost(plan, build, slots)
        self._orders: SimpleQueue[tuple[Assignment, Future[StepOutcome]]] = SimpleQueue()
        self._fault: str | None = None
        self._untold: set[int] = set()
        threading.Thread(target=self._work, name="pack", daemon=True).start()

    @ray.method(max_task_retries=-1)
    async def ready(self) -> None:
        """Return if this process can be relied on; if not, it ends, and its successor is the one that answers.

        A process in which the engine raised is not used again, because a device may be in any state then. It ends when
        every trial that was in it knows what was raised; the trial of a dead proxy is not waited for.
        """
        if self._fault is not None:
            until = time.monotonic() + _PATIENCE_S
            while self._untold and time.monotonic() < until:
                await asyncio.sleep(0.01)
            os._exit(1)

    @ray.method
    async def told(self, number: int) -> None:
        """Note that a trial's proxy has the outcome that says what was raised."""
        self._untold.discard(number)

    @ray.method
    async def capacity(self, most: int, measure: bool) -> Capacity:
        """Return how many trials to train at once; to be called before any order. See ``PackingEngine.capacity``."""
        return await aside(partial(self._host.capacity, most, measure=measure))

    @ray.method
    async def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Mapping[str, float]:
        """Measure a checkpoint; to be called after all orders. See ``Engine.measure``."""
        return await aside(partial(self._host.measure, checkpoint, task, split))

    @ray.method
    async def carry_out(self, assignment: Assignment) -> StepOutcome:
        """Return what comes of an assignment. Calls of different trials overlap; that is how they train together."""
        future: Future[StepOutcome] = Future()
        self._orders.put((assignment, future))
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        waiting: dict[int, Future[StepOutcome]] = {}
        while True:
            while not (waiting and self._orders.empty()):
                assignment, future = self._orders.get()
                number = assignment.task.number
                if not future.set_running_or_notify_cancel():
                    continue
                if number in waiting:  # whoever asked is gone: a trial has one proxy at a time
                    waiting.pop(number).set_result(Crashed(number=number, reason="its proxy died"))
                self._host.take(assignment)
                waiting[number] = future
            for number, outcome in self._outcomes(waiting).items():
                waiting.pop(number).set_result(outcome)

    def _outcomes(self, waiting: Mapping[int, Any]) -> Mapping[int, StepOutcome]:
        fault = self._fault
        if fault is None:
            try:
                return self._host.step()
            except Exception as error:  # any fault is let through: as every trial's outcome, for it may be any one's
                logger.exception("the engine raised")
                fault = in_short(error)
        self._untold.update(waiting)
        self._fault = fault
        return {number: Crashed(number=number, reason=fault) for number in waiting}


async def aside(work: Callable[[], R]) -> R:
    """Return what ``work`` returns, done in a thread that ends with it.

    A thread in which torch has computed keeps helpers of its own for as long as it lives. With more helpers than
    processors GNU's OpenMP lets all of them sleep between two operations, and a trial that trains alone, each operation
    on all processors, took 1.7 times as long (benchmarks/history).
    """
    with ThreadPoolExecutor(1, "aside") as own:
        return await asyncio.wrap_future(own.submit(work))


class TrialProxy(TuneTrial):
    """A trial that trains elsewhere: it passes its orders on and waits."""

    def setup(  # type: ignore[override]  # tune.with_parameters adds the keyword arguments
        self, config: dict[str, Any], *, plan: EnginePlan, actor: "ActorProxy[PackActor]", log: str
    ) -> None:
        """Keep the actor's handle, which stays good when Ray starts another process for it."""
        self.start(config, plan=plan, log=log)
        self._actor = actor

    def carry_out(self, assignment: Assignment) -> StepOutcome:
        """Have the actor carry the order out; its death is a crash of the trial."""
        try:
            ray.get(self._actor.ready.remote())
            outcome: StepOutcome = ray.get(self._actor.carry_out.remote(assignment))
        except RayActorError:
            return Crashed(number=assignment.task.number, reason=_DIED, died=True)
        if isinstance(outcome, Crashed):
            self._actor.told.remote(assignment.task.number)
        return outcome


def measure_in(actor: "ActorProxy[PackActor]") -> Measure:
    """Return what measures checkpoints in the actor, with the base and the data that it has in memory.

    What is returned raises ``RayError`` if the actor dies of it, or the engine raises.
    """

    def measure(checkpoint: Path, task: TrialTask, split: str) -> Mapping[str, float]:
        found: Mapping[str, float] = ray.get(actor.measure.remote(checkpoint, task, split))
        return found

    return measure


def capacity_of(actor: "ActorProxy[PackActor]", most: int, *, measure: bool) -> Capacity:
    """Have the actor tell how many trials to give it at once; see ``PackingEngine.capacity``.

    Raises:
        LoratoryError: the engine cannot be built.
    """
    try:
        found: Capacity = ray.get(actor.capacity.remote(most, measure))
    except RayTaskError as error:
        if isinstance(error.cause, LoratoryError):
            raise error.cause from None
        raise
    except RayActorError:
        return Capacity(slots=1, why=_DIED)
    return found


@contextmanager
def pack_actor(
    plan: EnginePlan, build: EngineFactory, placement: Placement, log: Path, alive: Callable[[], bool]
) -> "Iterator[ActorProxy[PackActor]]":
    """Run the actor that trains for all trials of a sweep; it is killed at the end, wherever it is.

    A Ray that is not ``alive`` any more is not asked to.
    """
    options = {"num_cpus": placement.host["CPU"], "num_gpus": placement.host["GPU"], "max_restarts": -1}
    actor = ray.remote(PackActor).options(**options).remote(plan, build, placement.trials, str(log))
    try:
        yield actor
    finally:
        if alive():
            assert isinstance(actor, ActorHandle)
            ray.kill(actor)
