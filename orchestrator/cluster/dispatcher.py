"""Which trial gets the next free slot, and what happens to a trial after each outcome.

Every executor drives its trials through a dispatcher, so that they all make the same moves. It knows nothing of Ray,
processes or engines, and decides nothing about a trial's worth: that is the coordinator's part. What it holds can be
rebuilt from the ledger at any time.
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
    Finish,
    Finished,
    Order,
    Reported,
    StepOutcome,
    Unusable,
)
from orchestrator.core.errors import LoratoryError
from orchestrator.core.trial import Action, Decision, Report, TrialState, TrialTask
from orchestrator.training.engine import Capacity

if TYPE_CHECKING:
    from orchestrator.search.coordinator import Coordinator

ATTEMPTS = 2
"""How often a trial is tried if its process crashes, counted over one driver's life.

Where trials run together it is counted since the trial's last outcome, for most of those crashes were another's doing.
"""

MOST_LOST = 4
"""How often in a row a trial that trains with others may lose the process that passes its orders on."""

logger = logging.getLogger(__name__)


class Move(enum.StrEnum):
    """What a trial does with its slot after an outcome."""

    GO_ON = "go on"
    YIELD = "yield"
    END = "end"


class Dispatcher:
    """Hands out trials to at most ``parallel`` slots, and carries the coordinator's decisions to them.

    A trial is in one place at a time: running (it has a slot), waiting (reported, no decision yet), or ready (it has an
    order and needs a slot).

    Trials that run together crash together, and it may be any one's doing. So each of them is a suspect until its next
    outcome: one suspect runs at a time, and nothing else is begun meanwhile. Who brings about an outcome is cleared,
    and the crash is not counted any more; who crashes again is the one, and the others are cleared. A process that died
    had most likely too little memory: from then on half as many run together.
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
        """Take up the coordinator's trials.

        Args:
            coordinator: decides.
            parallel: number of slots; it may be set anew at any time.
            stop: set by the driver when trials are to be suspended.
            say: told of crashes that end no trial.
            together: trials share a process, so that a crash is not known to be one trial's.
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
        """Whether trials must be suspended now: the driver is to stop, or the budget is spent."""
        return self._stop.is_set() or self._coordinator.out_of_budget is not None

    @property
    def done(self) -> bool:
        """Whether nothing runs, nothing can run, and nothing waits."""
        return not (self._running or self._waiting or self._ready) and self._coordinator.exhausted

    def complete(self) -> bool:
        """Return whether no trial is left to run, and neither failures nor the driver ended the sweep before."""
        return self.done and not self.halted and self._coordinator.failing is None

    def next(self) -> Assignment | None:
        """Return a trial for a free slot; None: no slot is free, or nothing can run now.

        Raises:
            LoratoryError: trials wait for each other, and no decision would ever come.
        """
        if self.halted or len(self._running) >= self.parallel or self._suspects & self._running:
            return None
        number = self._next_number()
        if number is None and self._waiting and not self._running:
            self._decide_again()
            number = self._next_number()
            if number is None and not self.halted:
                raise LoratoryError(f"trials {sorted(self._waiting)} wait for a decision that nothing can bring")
        if number is None:
            return None
        self._running.add(number)
        return Assignment(task=self._tasks[number], order=self._ready.pop(number))

    def take(self, outcome: StepOutcome) -> Move:
        """Commit what came of a trial's step and return what it does now.

        Raises:
            LoratoryError: the engine cannot be built.
        """
        if isinstance(outcome, Unusable):
            raise outcome.error
        if isinstance(outcome, Crashed):
            self.crashed(outcome.number, outcome.reason, died=outcome.died)
            return Move.YIELD if outcome.number in self._ready else Move.END
        self._lost.pop(outcome.number, None)
        if outcome.number in self._suspects:
            self._clear({outcome.number})
        if isinstance(outcome, Reported):
            for line in outcome.told:
                self._say(line)
            return self._reported(outcome.report)
        self._running.discard(outcome.number)
        if isinstance(outcome, Finished):
            self._coordinator.finish(outcome.number, outcome.metrics)
        else:
            self._coordinator.fail(outcome.number, outcome.reason)
        self._decide_again()
        return Move.END

    def crashed(self, number: int, reason: str, *, died: bool = False) -> None:
        """Note that a running trial's process died or raised: it is tried once more, then it fails, alone."""
        logger.warning("trial %d crashed: %s", number, reason)
        if died and self._together and not self._suspects:  # the first to tell of it
            self.parallel = max(1, self.parallel // 2)
        self._running.discard(number)
        self._crashes[number] += 1
        if number in self._suspects:
            self._clear(self._suspects - {number})
        if self._crashes[number] >= ATTEMPTS:
            self._suspects.discard(number)
            self._coordinator.fail(number, f"crashed {ATTEMPTS} times: {reason}")
            self._decide_again()
        else:
            if self._together:
                if not self._suspects:
                    self._say(f"trials go on from their newest reports, {self.parallel} at once: {reason}")
                self._suspects.add(number)
            else:
                self._say(f"trial {number} goes on from its newest report: {reason}")
            self._enqueue(number)

    def lost(self, number: int, reason: str) -> None:
        """Note that the process of a running trial is gone, other than by what it said itself.

        Where trials run together, that process only passed orders on, and what trains is somewhere else. So this is
        no crash of the trial, unless it comes again and again; one event that ends both is counted once.
        """
        self._lost[number] += 1
        if not self._together or self._lost[number] > MOST_LOST:
            self.crashed(number, reason)
        elif number in self._running:
            logger.warning("trial %d lost the process that passes its orders on: %s", number, reason)
            self._running.discard(number)
            self._enqueue(number)

    def lost_slots(self, reason: str) -> bool:
        """Note that every running trial's process is gone; return whether there was any."""
        lost = sorted(self._running)
        for number in lost:
            self.crashed(number, reason)
        return bool(lost)

    def _clear(self, numbers: set[int]) -> None:
        """Forget the crash that these were in with others."""
        self._suspects -= numbers
        for number in numbers:
            del self._crashes[number]

    def _next_number(self) -> int | None:
        """Suspects come first, then trials to be measured, for that frees most, then those that waited, then others."""
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
        return number

    def _reported(self, report: Report) -> Move:
        number = report.trial
        decisions = self._coordinator.report(report)
        self._carry_out(tuple(decision for decision in decisions if decision.trial != number))
        own = next((decision for decision in decisions if decision.trial == number), None)
        if own is not None and own.action is Action.CONTINUE:
            return Move.GO_ON
        self._running.discard(number)
        if own is not None and own.outcome is not None and own.outcome.state is TrialState.FAIL:
            self._decide_again()
            return Move.END  # the coordinator has ended it, for nothing of it is to be measured
        self._enqueue(number)
        return Move.YIELD

    def _decide_again(self) -> None:
        """Let the coordinator look at those that wait: a trial that they waited for may have ended."""
        self._carry_out(self._coordinator.flush_waiting())

    def _carry_out(self, decisions: tuple[Decision, ...]) -> None:
        """Give orders to trials that waited. Others are an earlier driver's, and still to be handed out."""
        for decision in decisions:
            if decision.trial not in self._waiting:
                continue
            self._waiting.discard(decision.trial)
            if decision.outcome is None or decision.outcome.state is not TrialState.FAIL:
                self._enqueue(decision.trial)

    def _enqueue(self, number: int) -> bool:
        """Give a trial its order as the ledger has it; return False if there is none yet, and it waits."""
        if self._coordinator.needs_finish(number):
            self._ready[number] = Finish(best_samples=self._coordinator.best_samples(number))
            return True
        point = self._coordinator.next_point(number)
        if point is None:
            self._waiting.add(number)
            return False
        self._ready[number] = Advance(nominal_samples=point)
        return True


def use_capacity(dispatcher: Dispatcher, capacity: Capacity, say: Callable[[str], None]) -> None:
    """Set the number of trials at once to the engine's capacity, and show the reason to the user."""
    dispatcher.parallel = capacity.slots
    for note in capacity.notes:
        say(note)
    if not capacity.packs:
        say(f"the solo engine trains one trial after another: {capacity.why}")
    elif capacity.why:
        say(f"trials at once: {capacity.slots}, because {capacity.why}")
    for trials in capacity.alone:
        say(f"the solo engine trains {trials}; it and the pack take turns, one report at a time")
