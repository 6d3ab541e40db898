"""The inline executor: all trials in this process, without Ray. For tests, notebooks and debugging."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.cluster.dispatcher import Dispatcher, SlotAction
from orchestrator.cluster.executor import ignore_message
from orchestrator.cluster.host import EngineFactory, SlotHost
from orchestrator.cluster.orders import Assignment
from orchestrator.core.errors import UserError, in_short, memory_ran_out
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import Resources
from orchestrator.training.build import build_engine
from orchestrator.training.engine import Capacity, Measure

if TYPE_CHECKING:
    from orchestrator.search.coordinator import Coordinator

logger = logging.getLogger(__name__)


class InlineExecutor:
    """Runs up to ``resources.parallel_trials`` packed trials together, and solo trials one after another.

    ``stop`` takes effect when the engine returns: after a few batches, or at the trial's next report.
    """

    def __init__(self, build: EngineFactory = build_engine) -> None:
        self._build = build

    @contextmanager
    def run(
        self,
        coordinator: "Coordinator",
        plan: EnginePlan,
        resources: Resources,
        stop: threading.Event,
        say: Callable[[str], None] = ignore_message,
    ) -> Iterator[Measure | None]:
        """Run the sweep's trials; see ``Executor.run``."""
        if plan.workers > 1:
            raise UserError("resources.workers_per_trial: several workers need Ray; leave out --inline")
        packed = plan.engine is EngineName.PACKED
        slots = resources.parallel_trials if packed else 1
        dispatcher = Dispatcher(coordinator, slots, stop, say, together=packed)
        if dispatcher.done:
            yield None
            return
        trainer = _Trainer(plan, self._build, dispatcher, slots)
        try:
            try:
                if packed:
                    dispatcher.use_capacity(trainer.capacity(measure=resources.measured))
                trainer.train()
            finally:
                if not dispatcher.done:
                    coordinator.suspend()
            yield trainer.host.measure if dispatcher.complete() else None
        finally:
            trainer.host.close()


class _Trainer:
    """Carries out the dispatcher's orders in one slot host, and replaces the host after a crash."""

    def __init__(self, plan: EnginePlan, build: EngineFactory, dispatcher: Dispatcher, slots: int) -> None:
        self.host = SlotHost(plan, build, slots)
        self._plan = plan
        self._build = build
        self._dispatcher = dispatcher
        self._slots = slots
        self._assigned: dict[int, Assignment] = {}

    def capacity(self, *, measure: bool) -> Capacity:
        """Return the number of trials to train at once, and use as many slots."""
        capacity = self.host.capacity(self._slots, measure=measure)
        self._slots = capacity.slots
        return capacity

    def train(self) -> None:
        """Train until the dispatcher halts, or has no assignment left."""
        while not self._dispatcher.halted:
            while (assignment := self._dispatcher.next()) is not None:
                self._assign(assignment)
            if not self.host.busy:
                break
            self._step()

    def _assign(self, assignment: Assignment) -> None:
        self._assigned[assignment.task.number] = assignment
        self.host.take(assignment)

    def _step(self) -> None:
        """Take one step and carry out the dispatcher's moves; after a crash, start with a new host."""
        try:
            outcomes = self.host.step()
        except Exception as error:  # any fault of a trial: it ends that trial at most, not the sweep
            logger.exception("the engine raised")
            self._dispatcher.lost_slots(in_short(error), out_of_memory=memory_ran_out(error))
            self.host.close()  # the engine may be in any state
            self.host = SlotHost(self._plan, self._build, self._slots)
            return
        for number, outcome in outcomes.items():
            action = self._dispatcher.take(outcome)
            following = self._assigned[number].following(self._plan.timetable)
            if action is SlotAction.CONTINUE and following is not None:
                self._assign(following)
            elif action is SlotAction.END:
                self.host.release(number)
