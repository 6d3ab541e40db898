"""The dispatcher: gives free slots to trials, and chooses a trial's move after each outcome.

Every executor drives its trials through a dispatcher, so that all executors make the same moves. The dispatcher knows
nothing of Ray, processes or engines. The coordinator makes the decisions. The dispatcher's state can be rebuilt from
the ledger at any time.
"""

import enum
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.cluster.executor import ignore_message
from orchestrator.cluster.orders import (
    Advance,
    Assignment,
    Crashed,
    CutShort,
    Finish,
    Finished,
    Order,
    Reported,
    StepOutcome,
    Unusable,
)
from orchestrator.core.errors import LoratoryError
from orchestrator.core.trials.trial import OUT_OF_MEMORY, Action, Decision, Report, TrialState, TrialTask
from orchestrator.training.engine import Capacity

if TYPE_CHECKING:
    from orchestrator.search.coordinator import Coordinator

ATTEMPTS = 2
"""Number of attempts for a trial with crashes, counted per driver.

In a pack it is counted since the trial's last outcome, because most crashes are caused by another trial.
"""

MOST_LOST = 4
"""Number of consecutive losses of its proxy after which a packed trial counts as crashed."""

logger = logging.getLogger(__name__)


class SlotAction(enum.StrEnum):
    """Use of a trial's slot after an outcome: continue, release the slot, or end."""

    CONTINUE = "continue"
    YIELD = "yield"
    END = "end"


class Dispatcher:
    """Assigns trials to at most ``parallel`` slots, and turns the coordinator's decisions into orders.

    A trial is in one of three states: running (it has a slot), waiting (reported, no decision yet), or ready (it has an
    order and needs a slot).

    Packed trials crash together, and any of them may be the cause. So all of them become suspects until their next
    outcome. One suspect runs at a time, and no other trial runs meanwhile. After an outcome a suspect is cleared, and
    its crash does not count. After another crash the suspect is the cause, and the others are cleared. If the process
    died, memory was probably short: from then on half as many trials run together.
    """

    def __init__(
        self,
        coordinator: "Coordinator",
        parallel: int,
        stop: threading.Event,
        say: Callable[[str], None] = ignore_message,
        *,
        together: bool = False,
    ) -> None:
        """Start without assigned trials.

        Args:
            coordinator: decides.
            parallel: number of slots; the attribute may change at any time.
            stop: set by the driver to suspend the trials.
            say: shows messages to the user: the capacity, and crashes that end no trial.
            together: trials share a process, so that the cause of a crash is unknown.
        """
        self._coordinator = coordinator
        self.parallel = parallel
        self._stop = stop
        self._say = say
        self._together = together
        self._tasks: dict[int, TrialTask] = {}
        self._running: set[int] = set()
        self._waiting: set[int] = set()
        self._ready: dict[int, Order] = {}
        self._crashes: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._suspects: set[int] = set()

    @property
    def halted(self) -> bool:
        """Whether trials must be suspended now: the driver stops, the budget is spent, or a paused sweep runs none."""
        paused = self._coordinator.paused and not self._running
        return paused or self._stop.is_set() or self._coordinator.out_of_budget is not None

    @property
    def done(self) -> bool:
        """Whether no trial runs, is ready or waits, and the coordinator has no more."""
        return not (self._running or self._waiting or self._ready) and self._coordinator.exhausted

    def complete(self) -> bool:
        """Return whether every trial was run, and neither failures nor the driver ended the sweep early."""
        return self.done and not self.halted and self._coordinator.failing is None

    def use_capacity(self, capacity: Capacity) -> None:
        """Set the number of slots to the engine's capacity, and show the reason to the user."""
        self.parallel = capacity.slots
        for note in capacity.notes:
            self._say(note)
        if not capacity.packs:
            self._say(f"the solo engine trains one trial after another: {capacity.why}")
        elif capacity.why:
            self._say(f"trials at once: {capacity.slots}, because {capacity.why}")
        for trials in capacity.alone:
            self._say(f"the solo engine trains {trials}; it and the pack take turns, one report at a time")

    def next(self) -> Assignment | None:
        """Return an assignment for a free slot; None: no slot is free, or no trial can run now.

        Raises:
            LoratoryError: trials wait for each other, so that no decision is possible.
        """
        self._take_requests()
        if self.halted or self._coordinator.paused:
            return None
        if len(self._running) >= self.parallel or self._suspects & self._running:
            return None
        number = self._next_number()
        if number is None and self._waiting and not self._running:
            self._decide_again()
            number = self._next_number()
            if number is None and not self.halted:
                raise LoratoryError(f"trials {sorted(self._waiting)} wait for each other; no decision is possible")
        if number is None:
            return None
        self._running.add(number)
        return Assignment(task=self._tasks[number], order=self._ready.pop(number))

    def take(self, outcome: StepOutcome) -> SlotAction:
        """Commit the outcome of a trial's step and return the trial's move.

        Raises:
            LoratoryError: the engine cannot be built.
        """
        if isinstance(outcome, Unusable):
            raise outcome.error
        self._take_requests()
        if isinstance(outcome, Crashed):
            self.crashed(outcome.number, outcome.reason, died=outcome.died, out_of_memory=outcome.out_of_memory)
            return SlotAction.YIELD if outcome.number in self._ready else SlotAction.END
        self._lost.pop(outcome.number, None)
        if outcome.number in self._suspects:
            self._clear({outcome.number})
        if isinstance(outcome, Reported):
            for line in outcome.notes:
                self._say(line)
            return self._reported(outcome.report)
        self._running.discard(outcome.number)
        if isinstance(outcome, Finished):
            self._coordinator.finish(outcome.number, outcome.metrics)
        elif isinstance(outcome, CutShort):
            self._coordinator.cut_short(outcome.number, outcome.reason)
        else:
            self._coordinator.fail(outcome.number, outcome.reason)
        self._decide_again()
        return SlotAction.END

    def crashed(self, number: int, reason: str, *, died: bool = False, out_of_memory: bool = False) -> None:
        """Handle a crash of a running trial: the first time it is tried again, then it fails."""
        logger.warning("trial %d crashed: %s", number, reason)
        if died and self._together and not self._suspects:  # the first report of this crash
            self.parallel = max(1, self.parallel // 2)
        self._running.discard(number)
        self._crashes[number] += 1
        if number in self._suspects:
            self._clear(self._suspects - {number})
        if self._crashes[number] >= ATTEMPTS:
            self._suspects.discard(number)
            cause = OUT_OF_MEMORY if out_of_memory else ""
            self._coordinator.fail(number, f"{cause}crashed {ATTEMPTS} times: {reason}")
            self._decide_again()
        else:
            if self._together:
                if not self._suspects:
                    self._say(f"trials resume from their newest reports, {self.parallel} at once: {reason}")
                self._suspects.add(number)
            else:
                self._say(f"trial {number} resumes from its newest report: {reason}")
            self._enqueue(number)

    def lost(self, number: int, reason: str, *, out_of_memory: bool = False) -> None:
        """Handle the loss of a running trial's process, which reported no crash itself.

        The process of a packed trial is only a proxy, and the pack trains elsewhere. So its loss counts as a crash only
        after several in a row. One event that ends proxy and pack counts once.
        """
        self._lost[number] += 1
        if not self._together or self._lost[number] > MOST_LOST:
            self.crashed(number, reason, out_of_memory=out_of_memory)
        elif number in self._running:
            logger.warning("trial %d lost its proxy: %s", number, reason)
            self._running.discard(number)
            self._enqueue(number)

    def lost_slots(self, reason: str, *, out_of_memory: bool = False) -> bool:
        """Handle the loss of all running trials' processes; return whether there was any."""
        lost = sorted(self._running)
        for number in lost:
            self.crashed(number, reason, out_of_memory=out_of_memory)
        return bool(lost)

    def _clear(self, numbers: set[int]) -> None:
        """Clear suspects, and do not count their crash."""
        self._suspects -= numbers
        for number in numbers:
            del self._crashes[number]

    def _next_number(self) -> int | None:
        """Return the next trial: suspects, then final measurements (they free slots), then ready trials, then new."""
        suspects = self._suspects & self._ready.keys()
        if suspects:
            return min(suspects)
        finishing = (number for number, order in self._ready.items() if isinstance(order, Finish))
        number = next(finishing, None)
        if number is None:
            number = next(iter(self._ready), None)
        while number is None and (task := self._coordinator.next_task()) is not None:
            self._tasks[task.number] = task
            if self._enqueue(task.number):
                number = task.number
        for note in self._coordinator.take_notes():
            self._say(note)
        return number

    def _reported(self, report: Report) -> SlotAction:
        number = report.trial
        decisions = self._coordinator.report(report)
        self._carry_out(tuple(decision for decision in decisions if decision.trial != number))
        own = next((decision for decision in decisions if decision.trial == number), None)
        if own is not None and own.action is Action.CONTINUE and not self._coordinator.paused:
            return SlotAction.CONTINUE
        self._running.discard(number)
        if own is not None and own.outcome is not None and own.outcome.state is TrialState.FAIL:
            self._decide_again()
            return SlotAction.END  # the coordinator has ended it: nothing is left to measure
        self._enqueue(number)
        return SlotAction.YIELD

    def _take_requests(self) -> None:
        """Let the coordinator answer new requests of users: a waiting trial may be stopped."""
        self._carry_out(self._coordinator.take_requests())

    def _decide_again(self) -> None:
        """Ask for the decisions on waiting trials: the end of another trial may allow them."""
        self._carry_out(self._coordinator.flush_waiting())

    def _carry_out(self, decisions: tuple[Decision, ...]) -> None:
        """Enqueue waiting trials with a decision. Trials of an earlier driver are not assigned yet and are skipped."""
        for decision in decisions:
            if decision.trial not in self._waiting:
                continue
            self._waiting.discard(decision.trial)
            if decision.outcome is None or decision.outcome.state is not TrialState.FAIL:
                self._enqueue(decision.trial)

    def _enqueue(self, number: int) -> bool:
        """Make a trial ready with its order from the ledger; return False if it waits for a decision."""
        if self._coordinator.needs_finish(number):
            self._ready[number] = Finish(best_samples=self._coordinator.best_samples(number))
            return True
        point = self._coordinator.next_point(number)
        if point is None:
            self._waiting.add(number)
            return False
        self._ready[number] = Advance(nominal_samples=point)
        return True
