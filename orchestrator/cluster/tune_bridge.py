"""Tune's searcher, scheduler and stopper: thin layers between the dispatcher, which decides, and an unmodified Tune.

A waiting trial is a paused Tune trial. After the decision, its order travels in the Tune trial's config, as in
population-based training. A stopped trial is paused and resumed in the same way for its final measurement, in the same
process.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper
from typing_extensions import override

from orchestrator.cluster.dispatcher import Dispatcher, SlotAction
from orchestrator.cluster.orders import Assignment
from orchestrator.cluster.ray_health import RayHealth
from orchestrator.cluster.tune_trial import ASSIGNMENT, OUTCOME
from orchestrator.core.errors import in_short, memory_ran_out

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

_DIED = "its process died; too little memory is the usual cause"


class RayGone(BaseException):
    """Leaves Tune at once: Ray has ended with all trials' processes, and every call to Ray would wait."""


class Bridge:
    """The state shared by searcher, scheduler and stopper.

    Attributes:
        dispatcher: decides.
        health: tells whether Ray still runs; None: it does.
        trials: Tune trials in progress, by the sweep's trial numbers.
        paused: numbers of the trials without a slot.
        resumed: numbers of paused trials with a new slot; the scheduler passes them to Tune.
        failure: the error that ends the sweep; Tune would convert it to text.
    """

    def __init__(self, dispatcher: Dispatcher, health: RayHealth | None = None) -> None:
        self.dispatcher = dispatcher
        self.health = health
        self.trials: dict[int, Trial] = {}
        self.paused: set[int] = set()
        self.resumed: list[int] = []
        self.failure: Exception | None = None

    @property
    def halted(self) -> bool:
        """Whether Tune must stop now: after an error, because the driver stops, or because every trial has ended."""
        return self.ray_is_gone() or self.failure is not None or self.dispatcher.halted or self.dispatcher.done

    def guarded(self, call: Callable[[], SlotAction | Assignment | None]) -> SlotAction | Assignment | None:
        """Return the result of ``call``; on an error, store the error and return None.

        After the end of Ray nothing is called: its effects on trials are not the trials' fault.
        """
        if self.ray_is_gone():
            return None
        try:
            return call()
        except Exception as error:  # noqa: BLE001  (the executor raises it when Tune has stopped)
            self.failure = error
            return None

    def ray_is_gone(self) -> bool:
        """Return whether Ray has ended; the end of Ray is stored as the failure."""
        if self.health is None or self.health.alive():
            return False
        self.failure = self.failure or self.health.error
        return True


class DispatchSearcher(Searcher):
    """Creates a Tune trial for each trial with its first slot in this driver."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(metric=None, mode=None)
        self._bridge = bridge

    @override
    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the config of a new Tune trial, None for no trial now, or FINISHED at the end.

        After FINISHED Tune releases each idle process, so it is not returned while trials are left. Without FINISHED at
        the end Tune waits ten minutes for another trial.
        """
        bridge = self._bridge
        assignment = None if bridge.halted else bridge.guarded(bridge.dispatcher.next)
        if bridge.halted:
            return cast("dict[str, Any]", Searcher.FINISHED)  # Tune's annotation leaves FINISHED out
        if not isinstance(assignment, Assignment):
            return None
        config = {ASSIGNMENT: assignment}
        number = assignment.task.number
        if number not in bridge.paused:
            return config
        bridge.trials[number].set_config(config)
        bridge.paused.discard(number)
        bridge.resumed.append(number)
        return None

    @override
    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the scheduler has passed the outcome to the dispatcher."""

    @override
    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger holds everything."""

    @override
    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class DispatchScheduler(TrialScheduler):
    """Passes each outcome to the dispatcher, and the move back to Tune."""

    _supports_buffered_results = False

    def __init__(self, bridge: Bridge) -> None:
        TrialScheduler.__init__(self)  # untyped, so super() would not pass mypy
        self._bridge = bridge

    @override
    def on_trial_add(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Store the Tune trial by its number."""
        self._bridge.trials[_number(trial)] = trial

    @override
    def on_trial_result(self, tune_controller: "TuneController", trial: Trial, result: Mapping[str, Any]) -> str:
        """Commit the outcome; continue, pause or stop as the dispatcher decides."""
        bridge, number = self._bridge, _number(trial)
        action = bridge.guarded(lambda: bridge.dispatcher.take(result[OUTCOME]))
        if action is SlotAction.CONTINUE:
            return str(TrialScheduler.CONTINUE)
        if action is SlotAction.YIELD:
            bridge.paused.add(number)
            # Paused directly: with the decision PAUSE Tune would write its own checkpoint.
            tune_controller.pause_trial(trial, should_checkpoint=False)
            return str(TrialScheduler.NOOP)
        del bridge.trials[number]
        return str(TrialScheduler.STOP)

    @override
    def on_trial_error(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Report a crash to the dispatcher; another attempt is a new Tune trial."""
        bridge, number = self._bridge, _number(trial)
        del bridge.trials[number]
        bridge.paused.discard(number)
        cause = _crash_cause(trial)
        reason = _DIED if cause is None else in_short(cause)
        memory = cause is not None and memory_ran_out(cause)
        bridge.guarded(lambda: bridge.dispatcher.lost(number, reason, out_of_memory=memory))

    @override
    def choose_trial_to_run(self, tune_controller: "TuneController") -> Trial | None:
        """Return a paused trial with a new slot; Tune starts new trials by itself."""
        if not self._bridge.resumed:
            return None
        return self._bridge.trials[self._bridge.resumed.pop(0)]

    @override
    def on_trial_complete(self, tune_controller: "TuneController", trial: Trial, result: Mapping[str, Any]) -> None:
        """Nothing to do: the dispatcher ended it."""

    @override
    def on_trial_remove(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Nothing to do: trials are removed only when the driver stops."""

    @override
    def debug_string(self) -> str:
        """Return a line for Tune's own progress table, which is not displayed."""
        return "decisions come from the ledger"


class HaltStopper(Stopper):
    """Stops Tune when the driver stops. It kills processes at any point, because every saved checkpoint is complete."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing for Tune's own record of the experiment, which is never read."""
        return {}

    @override
    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return False: the scheduler stops single trials."""
        return False

    @override
    def stop_all(self) -> bool:
        """Return whether to stop. Kill the processes: Tune would wait for each trial's report and ten seconds more."""
        if not self._bridge.halted:
            return False
        if self._bridge.ray_is_gone():
            raise RayGone
        for trial in self._bridge.trials.values():
            actor = trial.temporary_state.ray_actor
            if actor is not None:
                ray.kill(actor)
        return True


def _number(trial: Trial) -> int:
    assignment: Assignment = trial.config[ASSIGNMENT]
    return assignment.task.number


def _crash_cause(trial: Trial) -> BaseException | None:
    """Return the error raised in a trial's process; None if the process died."""
    path = trial.pickled_error_file
    if path is None:
        return None
    with Path(path).open("rb") as stream:
        error = cloudpickle.load(stream)
    cause = getattr(error, "cause", None)  # the error inside a RayTaskError
    return cause if isinstance(cause, BaseException) else None
