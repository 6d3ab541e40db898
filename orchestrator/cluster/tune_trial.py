"""A trial as Tune sees it: a light Trainable in a process that Tune keeps for trial after trial."""

import os
from pathlib import Path
from typing import Any

from ray import tune

from orchestrator.cluster.host import EngineFactory, SlotHost
from orchestrator.cluster.orders import Assignment, StepOutcome
from orchestrator.core.plan import EnginePlan

ASSIGNMENT = "assignment"
"""Key of the trial's config under which its ``Assignment`` stands; nothing else does."""
OUTCOME = "outcome"
"""Key of a result under which the step's ``StepOutcome`` stands."""


class TuneTrial(tune.Trainable):
    """Takes assignments through its config and returns one outcome per step; subclasses say how that comes about.

    Tune's checkpoints are not used: the engine writes its own, and a trial that lost its slot is started again from
    them.
    """

    def start(self, config: dict[str, Any], *, plan: EnginePlan, log: str) -> None:
        """Prepare for the first order; ``log`` is the file for this process's output."""
        redirect_output(Path(log))
        self._timetable = plan.timetable
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial, or another order for this one."""
        self._assignment: Assignment | None = new_config[ASSIGNMENT]
        return True

    def step(self) -> dict[str, Any]:
        """Carry out the order; a trial that Tune lets go on has the following one."""
        assignment = self._assignment
        assert assignment is not None, "a step without an order"
        outcome = self.carry_out(assignment)
        self._assignment = assignment.following(self._timetable)
        return {OUTCOME: outcome}

    def carry_out(self, assignment: Assignment) -> StepOutcome:
        """Return what comes of an assignment."""
        raise NotImplementedError


class TrialProcess(TuneTrial):
    """A trial that trains in its own process, with an engine that lives as long as the process."""

    def setup(  # type: ignore[override]  # tune.with_parameters adds the keyword arguments
        self, config: dict[str, Any], *, plan: EnginePlan, build: EngineFactory, log: str
    ) -> None:
        """Make this process's host, of one slot."""
        self.start(config, plan=plan, log=log)
        self._host = SlotHost(plan, build)

    def carry_out(self, assignment: Assignment) -> StepOutcome:
        """Train or measure here, to the end; what the engine lets through ends the process."""
        self._host.take(assignment)
        while not (outcomes := self._host.step()):
            pass
        return outcomes[assignment.task.number]

    def cleanup(self) -> None:
        """Free the engine; the process ends."""
        self._host.close()


def redirect_output(log: Path) -> None:
    """Send this process's output to the end of ``log``, crashes in native code included."""
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
