"""What it takes to carry out a sweep: trials are trained somewhere, and the coordinator decides.

Executors know how trials get a process, accelerators and time. They know nothing of samplers, stopping rules, metrics
or the sweep file, and keep nothing of their own that outlives them: the ledger behind the coordinator is the truth.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from orchestrator.core.plan import EnginePlan
from orchestrator.core.policy import Resources
from orchestrator.training.engine import Capacity, Measure

if TYPE_CHECKING:
    from orchestrator.cluster.dispatcher import Dispatcher
    from orchestrator.search.coordinator import Coordinator


def ignore_message(_: str) -> None:
    """Drop what is said: nobody listens."""


def nothing_more(_: Measure) -> None:
    """Leave the kept checkpoints as they are."""


def use_capacity(dispatcher: "Dispatcher", capacity: Capacity, say: Callable[[str], None]) -> None:
    """Have as many trials at once as the engine has capacity for, and say so in a sentence for a person."""
    dispatcher.parallel = capacity.slots
    for note in capacity.notes:
        say(note)
    if not capacity.packs:
        say(f"the solo engine trains one trial after another: {capacity.why}")
    elif capacity.why:
        say(f"trials at once: {capacity.slots}, because {capacity.why}")
    for told in capacity.alone:
        say(f"the solo engine trains {told}; it and the pack take turns, a report at a time")


class Executor(Protocol):
    """Runs a sweep's trials. The same contract suite (``tests/contracts/executor_contract.py``) runs against each."""

    def run(
        self,
        coordinator: "Coordinator",
        plan: EnginePlan,
        resources: Resources,
        stop: threading.Event,
        say: Callable[[str], None] = ignore_message,
        at_the_end: Callable[[Measure], None] = nothing_more,
    ) -> None:
        """Return when no trial is left, when the budget is spent, or soon after ``stop`` was set.

        In the last two cases trials that were running are suspended: a later call with a coordinator over the same
        ledger takes them up again from their checkpoints.

        Args:
            coordinator: decides.
            plan: what engines are built from.
            resources: how many trials at once, and what each takes.
            stop: set by the caller when trials are to be suspended.
            say: told what a person should know, in a sentence each.
            at_the_end: called when no trial is left, if an engine that has the base and the data in memory is still
                there: with what measures a checkpoint in it.

        Raises:
            LoratoryError: the engine cannot be built, or trial after trial crashes; trials are suspended too.
        """
