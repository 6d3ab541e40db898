"""A trial as Tune sees it: a light Trainable around a worker, in a process that Tune keeps for trial after trial."""

import os
from pathlib import Path
from typing import Any

from ray import tune

from orchestrator.cluster.orders import Assignment
from orchestrator.cluster.worker import EngineFactory, TrialWorker
from orchestrator.core.plan import EnginePlan

ASSIGNMENT = "assignment"
"""Key of the trial's config under which its ``Assignment`` stands; nothing else does."""
OUTCOME = "outcome"
"""Key of a result under which the step's ``Outcome`` stands."""


class TrialProxy(tune.Trainable):
    """Takes assignments through its config and returns one outcome per step.

    The engine lives as long as the process. Tune's checkpoints are not used: the engine writes its own, and a trial
    that lost its slot is started again from them.
    """

    def setup(self, config: dict[str, Any], *, plan: EnginePlan, build: EngineFactory, log: str) -> None:
        """Make this process's worker; ``log`` is the file for everything that libraries say here."""
        _redirect_output(Path(log))
        self._worker = TrialWorker(plan, build)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial, or another order for this one."""
        assignment: Assignment = new_config[ASSIGNMENT]
        self._worker.take(assignment)
        return True

    def step(self) -> dict[str, Any]:
        """Carry out the order."""
        return {OUTCOME: self._worker.step()}

    def cleanup(self) -> None:
        """Free the engine; the process ends."""
        self._worker.close()


def _redirect_output(log: Path) -> None:
    """Send this process's output to the end of ``log``, crashes in native code included."""
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
