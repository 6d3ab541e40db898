"""The whole system in this process, without Ray: for tests, notebooks and debugging."""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.cluster.dispatcher import Dispatcher, Move
from orchestrator.cluster.executor import ignore_message, nothing_more, use_capacity
from orchestrator.cluster.host import EngineFactory, SlotHost
from orchestrator.cluster.orders import Assignment
from orchestrator.core.errors import in_short
from orchestrator.core.plan import EngineName, EnginePlan
from orchestrator.core.policy import Resources
from orchestrator.training.build import build_engine
from orchestrator.training.engine import Measure

if TYPE_CHECKING:
    from orchestrator.search.coordinator import Coordinator

logger = logging.getLogger(__name__)


class InlineExecutor:
    """Runs ``resources.parallel_trials`` trials together if the engine packs, and one at a time if it does not.

    A stop takes effect when the engine comes back: after a few batches, or at the trial's next report.
    """

    def __init__(self, build: EngineFactory = build_engine) -> None:
        self._build = build

    def run(
        self,
        coordinator: "Coordinator",
        plan: EnginePlan,
        resources: Resources,
        stop: threading.Event,
        say: Callable[[str], None] = ignore_message,
        at_the_end: Callable[[Measure], None] = nothing_more,
    ) -> None:
        """Run the sweep's trials; see ``Executor.run``."""
        packed = plan.engine is EngineName.PACKED
        slots = resources.parallel_trials if packed else 1
        dispatcher = Dispatcher(coordinator, slots, stop, say, together=packed)
        if dispatcher.done:
            return
        host = SlotHost(plan, self._build, slots)
        assigned: dict[int, Assignment] = {}
        try:
            if packed:
                capacity = host.capacity(slots, measure=resources.measured)
                slots = capacity.slots
                use_capacity(dispatcher, capacity, say)
            while not dispatcher.halted:
                while (assignment := dispatcher.next()) is not None:
                    assigned[assignment.task.number] = assignment
                    host.take(assignment)
                if not host.busy:
                    break
                if not self._step(host, assigned, dispatcher, plan):
                    # After a crash nothing that the engine holds can be trusted.
                    host.close()
                    host = SlotHost(plan, self._build, slots)
            if dispatcher.complete():
                at_the_end(host.measure)
        finally:
            host.close()
            if not dispatcher.done:
                coordinator.suspend()

    def _step(self, host: SlotHost, assigned: dict[int, Assignment], dispatcher: Dispatcher, plan: EnginePlan) -> bool:
        """Take one step and do what the dispatcher says of its outcomes; return whether there was no crash."""
        try:
            outcomes = host.step()
        except Exception as error:  # any fault of the trials is let through: it ends a trial at most, not the sweep
            logger.exception("the engine raised")
            dispatcher.lost_slots(in_short(error))
            return False
        for number, outcome in outcomes.items():
            move = dispatcher.take(outcome)
            following = assigned[number].following(plan.timetable)
            if move is Move.GO_ON and following is not None:
                assigned[number] = following
                host.take(following)
            elif move is Move.END:
                host.release(number)
        return True
