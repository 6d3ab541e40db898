"""Tune's view of a trial: a light Trainable in a process kept for many trials."""

import os
from pathlib import Path
from typing import Any

from ray import tune

from orchestrator.cluster.host import EngineFactory, SlotHost
from orchestrator.cluster.orders import Assignment, StepOutcome
from orchestrator.core.sweeps.plan import EnginePlan

ASSIGNMENT = "assignment"
"""The only key of a trial's config; its value is an ``Assignment``."""
OUTCOME = "outcome"
"""Key of a step's ``StepOutcome`` in its result."""


class TuneTrial(tune.Trainable):
    """Receives assignments through its config, and returns one outcome per step. Subclasses carry out the orders.

    Tune's checkpoints are not used. The engine writes its own, and a trial without a slot starts again from them.
    """

    def start(self, config: dict[str, Any], *, plan: EnginePlan, log: str) -> None:
        """Prepare for the first order; ``log`` is the file for this process's output."""
        redirect_output(Path(log))
        self._timetable = plan.timetable
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accept another trial, or another order for the same trial."""
        self._assignment: Assignment | None = new_config[ASSIGNMENT]
        return True

    def step(self) -> dict[str, Any]:
        """Carry out the order; if Tune continues the trial, the following order is next."""
        assignment = self._assignment
        assert assignment is not None, "a step without an order"
        outcome = self.carry_out(assignment)
        self._assignment = assignment.following(self._timetable)
        return {OUTCOME: outcome}

    def carry_out(self, assignment: Assignment) -> StepOutcome:
        """Return the outcome of an assignment."""
        raise NotImplementedError


class TrialProcess(TuneTrial):
    """A trial with its own process and engine."""

    def setup(  # type: ignore[override]  # tune.with_parameters adds the keyword arguments
        self, config: dict[str, Any], *, plan: EnginePlan, build: EngineFactory, log: str
    ) -> None:
        """Create the slot host of this process, with one slot."""
        self.start(config, plan=plan, log=log)
        self._host = SlotHost(plan, build)

    def carry_out(self, assignment: Assignment) -> StepOutcome:
        """Train to the report point, or measure, in this process; an error of the engine ends the process."""
        self._host.take(assignment)
        while not (outcomes := self._host.step()):
            pass
        return outcomes[assignment.task.number]

    def cleanup(self) -> None:
        """Free the engine; the process ends."""
        self._host.close()


def redirect_output(log: Path) -> None:
    """Append this process's output to ``log``, including the output of native crashes."""
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
