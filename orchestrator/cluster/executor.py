"""What it takes to carry out a sweep: trials are trained somewhere, and the coordinator decides.

Executors know how trials get a process, accelerators and time. They know nothing of samplers, stopping rules, metrics
or the sweep file, and keep nothing of their own that outlives them: the ledger behind the coordinator is the truth.
"""

import threading
from typing import TYPE_CHECKING, Protocol

from orchestrator.core.plan import EnginePlan
from orchestrator.core.policy import Resources

if TYPE_CHECKING:
    from orchestrator.search.coordinator import Coordinator


class Executor(Protocol):
    """Runs a sweep's trials. The same contract suite (``tests/contracts/executor_contract.py``) runs against each."""

    def run(self, coordinator: "Coordinator", plan: EnginePlan, resources: Resources, stop: threading.Event) -> None:
        """Return when no trial is left, when the budget is spent, or soon after ``stop`` was set.

        In the last two cases trials that were running are suspended: a later call with a coordinator over the same
        ledger takes them up again from their checkpoints.

        Raises:
            LoratoryError: the engine cannot be built, or trial after trial crashes; trials are suspended too.
        """
