"""The whole system in this process, one trial after another, without Ray: for tests, notebooks and debugging."""

import logging
import threading
from typing import TYPE_CHECKING

from orchestrator.cluster.dispatcher import Dispatcher, Move
from orchestrator.cluster.orders import Assignment
from orchestrator.cluster.worker import EngineFactory, TrialWorker
from orchestrator.core.plan import EnginePlan
from orchestrator.core.policy import Resources
from orchestrator.training.build import build_engine

if TYPE_CHECKING:
    from orchestrator.search.coordinator import Coordinator

logger = logging.getLogger(__name__)


class InlineExecutor:
    """Runs one trial at a time, whatever the resources say. A stop takes effect at the trial's next report."""

    def __init__(self, build: EngineFactory = build_engine) -> None:
        self._build = build

    def run(
        self,
        coordinator: "Coordinator",
        plan: EnginePlan,
        resources: Resources,  # noqa: ARG002  (the protocol's)
        stop: threading.Event,
    ) -> None:
        """Run the sweep's trials; see ``Executor.run``."""
        dispatcher = Dispatcher(coordinator, parallel=1, stop=stop)
        worker = TrialWorker(plan, self._build)
        try:
            while (assignment := dispatcher.next()) is not None:
                if not self._run_trial(worker, assignment, dispatcher):
                    # After a crash nothing that the engine holds can be trusted.
                    worker.close()
                    worker = TrialWorker(plan, self._build)
        finally:
            worker.close()
            if not dispatcher.done:
                coordinator.suspend()

    def _run_trial(self, worker: TrialWorker, assignment: Assignment, dispatcher: Dispatcher) -> bool:
        """Let a trial use the slot until it gives it up; return whether it did so without a crash."""
        worker.take(assignment)
        move = Move.GO_ON
        while move is Move.GO_ON and not dispatcher.halted:
            try:
                outcome = worker.step()
            except Exception as error:  # any fault of one trial is let through: it ends that trial, not the sweep
                logger.exception("trial %d crashed", assignment.task.number)
                dispatcher.crashed(assignment.task.number, f"{type(error).__name__}: {error}")
                return False
            move = dispatcher.take(outcome)
        return True
