"""Trials in processes of their own, scheduled by Ray Tune. Ray is imported when the sweep runs, not before."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.cluster.dispatcher import Dispatcher, use_capacity
from orchestrator.cluster.executor import ignore_message
from orchestrator.cluster.host import EngineFactory
from orchestrator.cluster.placement import Placement, place
from orchestrator.cluster.ray_environment import tune_variables
from orchestrator.core.environment import environment
from orchestrator.core.errors import SuspendedError
from orchestrator.core.plan import EngineName, EnginePlan
from orchestrator.core.policy import Resources
from orchestrator.training.build import build_engine
from orchestrator.training.engine import Capacity, Measure

if TYPE_CHECKING:
    from ray import tune

    from orchestrator.cluster.ray_health import RayHealth
    from orchestrator.search.coordinator import Coordinator

logger = logging.getLogger(__name__)

LOG_FILE = "ray.log"
"""File in the sweep's folder that gets what Ray, Tune and the trials' processes say."""


class _Trial(NamedTuple):
    """What Tune runs for each trial, and what measures checkpoints when no trial is left, if its process stays."""

    trainable: "type[tune.Trainable]"
    measure: Measure | None


class TuneExecutor:
    """Runs up to ``resources.parallel_trials`` trials at once, on this machine or on the user's Ray cluster.

    Each in a process of its own, or, if the engine packs, all in one, with a light proxy of each under Tune.
    """

    def __init__(self, build: EngineFactory = build_engine) -> None:
        self._build = build

    @contextmanager
    def run(
        self,
        coordinator: "Coordinator",
        plan: EnginePlan,
        resources: Resources,
        stop: threading.Event,
        say: Callable[[str], None] = ignore_message,
    ) -> Iterator[Measure | None]:
        """Run the sweep's trials; see ``Executor.run``."""
        packed = plan.engine is EngineName.PACKED
        dispatcher = Dispatcher(coordinator, resources.parallel_trials, stop, say, together=packed)
        if dispatcher.done:
            yield None
            return
        try:
            with self._trained(dispatcher, plan, resources, say) as measure:
                yield measure
        finally:
            if not dispatcher.done:
                coordinator.suspend()

    @contextmanager
    def _trained(
        self, dispatcher: Dispatcher, plan: EnginePlan, resources: Resources, say: Callable[[str], None]
    ) -> Iterator[Measure | None]:
        """Let Tune run until the dispatcher is done or halts, then yield the measure of the process that trained."""
        placement = place(plan, resources)
        with environment(tune_variables(placement.trials)):  # Ray reads some of these when it is imported
            from orchestrator.cluster.ray_session import ray_session

        sweep_dir = Path(plan.sweep_dir)
        size: Callable[[Capacity], None] | None = partial(use_capacity, dispatcher, say=say)
        with ray_session(sweep_dir, placement, sweep_dir / LOG_FILE) as storage, _ray_watched(sweep_dir) as health:
            while not (dispatcher.done or dispatcher.halted):
                with self._trial(plan, placement, resources, size, health) as trial:
                    _run_tune(dispatcher, trial.trainable, placement, storage, health)
                    if dispatcher.complete():
                        yield trial.measure
                        return
                size = None
            yield None

    @contextmanager
    def _trial(
        self,
        plan: EnginePlan,
        placement: Placement,
        resources: Resources,
        size: Callable[[Capacity], None] | None,
        health: "RayHealth",
    ) -> Iterator[_Trial]:
        """Yield what Tune runs for each trial: the trial itself, or a proxy of a slot in the actor that trains.

        ``size`` receives the capacity of that actor; None: it is not asked.
        """
        from ray import tune

        log = Path(plan.sweep_dir) / LOG_FILE
        if plan.engine is EngineName.PACKED:
            from orchestrator.cluster.tune_pack import TrialProxy, capacity_of, measure_in, pack_actor

            with pack_actor(plan, self._build, placement, log, health.alive) as actor:
                if size is not None:
                    size(capacity_of(actor, placement.trials, measure=resources.measured))
                proxy = tune.with_parameters(TrialProxy, plan=plan, actor=actor, log=str(log))
                yield _Trial(proxy, measure_in(actor))
        else:
            from orchestrator.cluster.tune_trial import TrialProcess

            yield _Trial(tune.with_parameters(TrialProcess, plan=plan, build=self._build, log=str(log)), None)


@contextmanager
def _ray_watched(sweep_dir: Path) -> "Iterator[RayHealth]":
    """Yield what says whether Ray still runs; if it does not, every error is Ray's end."""
    from orchestrator.cluster.ray_health import RayHealth

    health = RayHealth(sweep_dir / LOG_FILE)
    try:
        yield health
    except Exception as error:  # any is let through, as it is if Ray still runs
        if health.alive() or isinstance(error, SuspendedError):
            raise
        raise health.error from error


def _run_tune(
    dispatcher: Dispatcher, trainable: "type[tune.Trainable]", placement: Placement, storage: Path, health: "RayHealth"
) -> None:
    """Let Tune run until the sweep ends; if Tune itself fails, return, so that it is started again."""
    from ray import tune

    from orchestrator.cluster.tune_bridge import Bridge, DispatchScheduler, DispatchSearcher, HaltStopper, RayGone

    bridge = Bridge(dispatcher, health)
    try:
        tune.run(
            trainable,
            name="sweep",
            search_alg=DispatchSearcher(bridge),
            scheduler=DispatchScheduler(bridge),
            stop=HaltStopper(bridge),
            num_samples=-1,
            resources_per_trial=tune.PlacementGroupFactory([dict(placement.trial)]),
            reuse_actors=True,
            storage_path=str(storage),
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            raise_on_failed_trial=False,
            verbose=0,
        )
    except RayGone:
        raise health.error from None
    except Exception as error:  # Tune gives up on errors that it does not know; the ledger can start another
        logging.getLogger("ray.tune").exception("Tune failed")
        if health.alive() and bridge.failure is None and not dispatcher.lost_slots("Tune failed; see the log"):
            bridge.failure = error
    if not health.alive():
        raise bridge.failure or health.error
    if bridge.failure is not None:
        raise bridge.failure
