"""The protocol of executors: an executor trains the trials somewhere, and the coordinator decides.

Executors give trials processes, accelerators and time. They know nothing of samplers, stopping rules, metrics or the
sweep file, and store nothing: the ledger behind the coordinator holds all state.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.sweeps.policy import Resources
from orchestrator.training.engine import Measure

if TYPE_CHECKING:
    from orchestrator.search.coordinator import Coordinator


def ignore_message(_: str) -> None:
    """Drop a message."""


class Executor(Protocol):
    """Runs a sweep's trials. The contract suite ``tests/contracts/executor_contract.py`` runs against each executor."""

    def run(
        self,
        coordinator: "Coordinator",
        plan: EnginePlan,
        resources: Resources,
        stop: threading.Event,
        say: Callable[[str], None] = ignore_message,
    ) -> AbstractContextManager[Measure | None]:
        """Enter when no trial is left, when the budget is spent, after a pause, or soon after ``stop`` was set.

        In a paused sweep running trials first reach their next report. In all cases but the first, unfinished trials
        are suspended. A later call with a coordinator over the same ledger resumes them from their checkpoints.

        Args:
            coordinator: decides.
            plan: builds the engines.
            resources: trials at once, and the processors of each.
            stop: set by the caller to suspend the trials.
            say: shows messages to the user, one sentence each.

        Returns:
            A context. Its value measures checkpoints with the engine that trained, which stays in memory until the
            context ends. None: trials are left, or no such engine exists.

        Raises:
            LoratoryError: the engine cannot be built, or several trials in a row crash; trials are suspended too.
        """
