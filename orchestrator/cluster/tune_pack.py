"""Packed trials under Tune: every trial is a proxy, and one actor trains all of them.

Tune assumes one process per trial. A proxy holds no accelerator and never imports torch. It sends its order to the
actor, and the trial joins the running loop at the next step. The actor owns the engine. If the actor dies, Ray starts
another one, and every trial with an open order has crashed.
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
from orchestrator.core.errors import LoratoryError, in_short, memory_ran_out
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.trial import TrialTask
from orchestrator.training.engine import Capacity, Measure

_PATIENCE_S = 5.0
_DIED = "the process of the pack died; too little memory is the usual cause"

R = TypeVar("R")

logger = logging.getLogger(__name__)


class PackActor:
    """A Ray actor with a slot host; a separate thread steps while any trial has an order."""

    def __init__(self, plan: EnginePlan, build: EngineFactory, slots: int, log: str) -> None:
        """Start the thread; the engine is built at the first order."""
        redirect_output(Path(log))
        self._host = SlotHost(plan, build, slots)
        self._orders: SimpleQueue[tuple[Assignment, Future[StepOutcome]]] = SimpleQueue()
        self._fault: tuple[str, bool] | None = None  # the reason, and whether memory ran out
        self._unacknowledged: set[int] = set()
        threading.Thread(target=self._work, name="pack", daemon=True).start()

    @ray.method(max_task_retries=-1)
    async def ready(self) -> None:
        """Return if this process is usable; otherwise end it, so that its successor answers the call.

        After an error of the engine the process is not used again, because the device may be in any state. It ends when
        every trial has acknowledged the error, or after a few seconds, because a proxy may be dead.
        """
        if self._fault is not None:
            until = time.monotonic() + _PATIENCE_S
            while self._unacknowledged and time.monotonic() < until:
                await asyncio.sleep(0.01)
            os._exit(1)

    @ray.method
    async def acknowledge(self, number: int) -> None:
        """Record that a trial's proxy has received the error of the engine."""
        self._unacknowledged.discard(number)

    @ray.method
    async def capacity(self, most: int, measure: bool) -> Capacity:
        """Return the capacity of the engine; to be called before any order. See ``PackingEngine.capacity``."""
        return await run_in_new_thread(partial(self._host.capacity, most, measure=measure))

    @ray.method
    async def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        """Measure a checkpoint; to be called after all orders. See ``Engine.measure``."""
        return await run_in_new_thread(partial(self._host.measure, checkpoint, task, split))

    @ray.method
    async def carry_out(self, assignment: Assignment) -> StepOutcome:
        """Return the outcome of an assignment. Calls of different trials overlap, so that the trials train together."""
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
                if number in waiting:  # a new proxy replaces a dead one: a trial has one at a time
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
            except Exception as error:  # every error becomes the outcome of all trials: any may be the cause
                logger.exception("the engine raised")
                fault = in_short(error), memory_ran_out(error)
        self._unacknowledged.update(waiting)
        self._fault = fault
        reason, out_of_memory = fault
        return {number: Crashed(number=number, reason=reason, out_of_memory=out_of_memory) for number in waiting}


async def run_in_new_thread(work: Callable[[], R]) -> R:
    """Return the result of ``work``, computed in a thread that ends afterwards.

    A thread that has used torch keeps its own OpenMP threads. With more OpenMP threads than processors, GNU's OpenMP
    suspends them between two operations. A trial alone on all processors then took 1.7 times as long
    (benchmarks/history).
    """
    with ThreadPoolExecutor(1, "new-thread") as own:
        return await asyncio.wrap_future(own.submit(work))


class TrialProxy(TuneTrial):
    """A trial trained by the actor: sends its orders there and waits."""

    def setup(  # type: ignore[override]  # tune.with_parameters adds the keyword arguments
        self, config: dict[str, Any], *, plan: EnginePlan, actor: "ActorProxy[PackActor]", log: str
    ) -> None:
        """Store the actor's handle, which stays valid when Ray restarts the actor."""
        self.start(config, plan=plan, log=log)
        self._actor = actor

    def carry_out(self, assignment: Assignment) -> StepOutcome:
        """Let the actor carry out the order; the actor's death is a crash of the trial."""
        try:
            ray.get(self._actor.ready.remote())
            outcome: StepOutcome = ray.get(self._actor.carry_out.remote(assignment))
        except RayActorError:
            return Crashed(number=assignment.task.number, reason=_DIED, died=True)
        if isinstance(outcome, Crashed):
            self._actor.acknowledge.remote(assignment.task.number)
        return outcome


def measure_in(actor: "ActorProxy[PackActor]") -> Measure:
    """Return a measure that runs in the actor, with its base model and data in memory.

    The measure raises ``RayError`` if the actor dies, or the engine raises.
    """

    def measure(checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        measurement: Measurement = ray.get(actor.measure.remote(checkpoint, task, split))
        return measurement

    return measure


def capacity_of(actor: "ActorProxy[PackActor]", most: int, *, measure: bool) -> Capacity:
    """Return the capacity of the actor's engine; see ``PackingEngine.capacity``.

    Raises:
        LoratoryError: the engine cannot be built.
    """
    try:
        capacity: Capacity = ray.get(actor.capacity.remote(most, measure))
    except RayTaskError as error:
        if isinstance(error.cause, LoratoryError):
            raise error.cause from None
        raise
    except RayActorError:
        return Capacity(slots=1, why=_DIED)
    return capacity


@contextmanager
def pack_actor(
    plan: EnginePlan, build: EngineFactory, placement: Placement, log: Path, alive: Callable[[], bool]
) -> "Iterator[ActorProxy[PackActor]]":
    """Run the actor of a sweep's pack, and kill it at the end, unless Ray is no longer ``alive``."""
    options = {"num_cpus": placement.host["CPU"], "num_gpus": placement.host["GPU"], "max_restarts": -1}
    actor = ray.remote(PackActor).options(**options).remote(plan, build, placement.trials, str(log))
    try:
        yield actor
    finally:
        if alive():
            assert isinstance(actor, ActorHandle)
            ray.kill(actor)
