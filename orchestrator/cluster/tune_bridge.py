"""Tune's searcher, scheduler and stopper, as thin as they can be: the dispatcher decides, Tune carries it out.

A waiting trial is a paused Tune trial. When its decision is there, its order travels in the Tune trial's config, as in
population-based training, so that Tune stays unmodified; a stopped trial that is still to be measured is paused and
resumed in the same way, and finds its process as it left it.
"""
# ruff: noqa: ARG002  (the signatures are Tune's)

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from orchestrator.cluster.dispatcher import Dispatcher, Move
from orchestrator.cluster.orders import Assignment
from orchestrator.cluster.ray_health import RayHealth
from orchestrator.cluster.tune_trial import ASSIGNMENT, OUTCOME
from orchestrator.core.errors import in_short

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

_DIED = "its process died; too little memory is the usual cause"


class RayGone(BaseException):
    """Leaves Tune at once: Ray's end has ended every trial's process, and whoever asks Ray for anything waits."""


class Bridge:
    """What searcher, scheduler and stopper share.

    Attributes:
        dispatcher: decides.
        health: says whether Ray still runs; None: it does.
        trials: Tune trials that have not ended, by the sweep's numbers.
        paused: numbers of those that gave up their slot.
        resumed: numbers of paused trials that got a slot again; the scheduler hands them to Tune.
        failure: the error that ends the sweep, as it was; Tune would wrap it in text.
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
        """Whether Tune is to stop now: for an error, because the driver stops, or because every trial has ended."""
        return self.ray_is_gone() or self.failure is not None or self.dispatcher.halted or self.dispatcher.done

    def guarded(self, call: Callable[[], Move | Assignment | None]) -> Move | Assignment | None:
        """Return what ``call`` returns, or keep its error and return None.

        Nothing is called when Ray is gone: what its end does to trials is no doing of theirs.
        """
        if self.ray_is_gone():
            return None
        try:
            return call()
        except Exception as error:  # noqa: BLE001  (nothing is let through: the executor raises it when Tune has stopped)
            self.failure = error
            return None

    def ray_is_gone(self) -> bool:
        """Return whether Ray has ended; then that is the failure."""
        if self.health is None or self.health.alive():
            return False
        self.failure = self.failure or self.health.error
        return True


class DispatchSearcher(Searcher):
    """Gives a Tune trial to each trial that gets a slot for the first time in this driver."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(metric=None, mode=None)
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return a new Tune trial's config, None for none now, or FINISHED at the very end.

        FINISHED is not said while trials are left, because from then on Tune lets go of each process that falls idle;
        but it must be said at the end, because Tune waits ten minutes for a trial where there is none.
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

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: the coordinator was told."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class DispatchScheduler(TrialScheduler):
    """Carries each outcome to the dispatcher, and the move back to Tune."""

    _supports_buffered_results = False

    def __init__(self, bridge: Bridge) -> None:
        TrialScheduler.__init__(self)  # untyped, so super() would not pass mypy
        self._bridge = bridge

    def on_trial_add(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Remember the Tune trial by its number."""
        self._bridge.trials[_number(trial)] = trial

    def on_trial_result(self, tune_controller: "TuneController", trial: Trial, result: Mapping[str, Any]) -> str:
        """Commit the outcome; continue, pause or stop as the dispatcher says."""
        bridge, number = self._bridge, _number(trial)
        move = bridge.guarded(lambda: bridge.dispatcher.take(result[OUTCOME]))
        if move is Move.GO_ON:
            return str(TrialScheduler.CONTINUE)
        if move is Move.YIELD:
            bridge.paused.add(number)
            # Paused by hand, because the decision PAUSE would have Tune write a checkpoint of its own.
            tune_controller.pause_trial(trial, should_checkpoint=False)
            return str(TrialScheduler.NOOP)
        del bridge.trials[number]
        return str(TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Tell of a crash; if it is tried again, that is a new Tune trial."""
        bridge, number = self._bridge, _number(trial)
        del bridge.trials[number]
        bridge.paused.discard(number)
        bridge.guarded(lambda: bridge.dispatcher.lost(number, _crash_reason(trial)))

    def choose_trial_to_run(self, tune_controller: "TuneController") -> Trial | None:
        """Return a paused trial that got a slot; Tune starts new ones by itself."""
        if not self._bridge.resumed:
            return None
        return self._bridge.trials[self._bridge.resumed.pop(0)]

    def on_trial_complete(self, tune_controller: "TuneController", trial: Trial, result: Mapping[str, Any]) -> None:
        """Nothing to do: the dispatcher ended it."""

    def on_trial_remove(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Nothing to do: trials are removed only when the driver stops."""

    def debug_string(self) -> str:
        """Return a line for Tune's own progress table, which is not shown."""
        return "decisions come from the ledger"


class HaltStopper(Stopper):
    """Stops everything when the driver is to stop. Processes are killed where they are: every checkpoint is whole."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything out of Tune's own record of the experiment, which nobody reads."""
        return {}

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Never: single trials are stopped by the scheduler."""
        return False

    def stop_all(self) -> bool:
        """Return whether to stop; Tune itself would wait for each trial's report, and ten seconds more."""
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


def _crash_reason(trial: Trial) -> str:
    """Return the error that a trial's process raised, in one line, or that the process died."""
    path = trial.pickled_error_file
    if path is None:
        return _DIED
    with Path(path).open("rb") as stream:
        error = cloudpickle.load(stream)
    cause = getattr(error, "cause", None)  # of a RayTaskError: what was raised in the process
    return _DIED if cause is None else in_short(cause)
