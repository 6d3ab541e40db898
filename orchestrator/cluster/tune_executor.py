"""The Tune executor: trials in separate processes, scheduled by Ray Tune. Ray is imported when the sweep runs."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.cluster.dispatcher import Dispatcher
from orchestrator.cluster.executor import ignore_message
from orchestrator.cluster.host import EngineFactory
from orchestrator.cluster.placement import Placement, place
from orchestrator.cluster.ray_environment import tune_variables
from orchestrator.core.errors import SuspendedError
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import Resources
from orchestrator.core.system.environment import environment
from orchestrator.training.build import build_engine
from orchestrator.training.engine import Capacity, Measure

if TYPE_CHECKING:
    from ray import tune

    from orchestrator.cluster.ray_health import RayHealth
    from orchestrator.search.coordinator import Coordinator

logger = logging.getLogger(__name__)

LOG_FILE = "ray.log"
"""File in the sweep's folder with the output of Ray, Tune and the trials' processes."""


class _Trial(NamedTuple):
    """Tune's trainable for each trial, and the measure of the process that trains; None: that process does not stay."""

    trainable: "type[tune.Trainable]"
    measure: Measure | None


class TuneExecutor:
    """Runs up to ``resources.parallel_trials`` trials at once, on this machine or on the user's Ray cluster.

    A solo trial has its own process. Packed trials share one process, and Tune runs a light proxy of each.
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
        use_capacity: Callable[[Capacity], None] | None = dispatcher.use_capacity
        session = ray_session(sweep_dir, placement, sweep_dir / LOG_FILE, say)
        with session as storage, _ray_watched(sweep_dir) as health:
            while not (dispatcher.done or dispatcher.halted):
                with self._trial(plan, placement, resources, use_capacity, health) as trial:
                    _run_tune(dispatcher, trial.trainable, placement, storage, health)
                    if dispatcher.complete():
                        yield trial.measure
                        return
                use_capacity = None  # a later actor has the same capacity
            yield None

    @contextmanager
    def _trial(
        self,
        plan: EnginePlan,
        placement: Placement,
        resources: Resources,
        use_capacity: Callable[[Capacity], None] | None,
        health: "RayHealth",
    ) -> Iterator[_Trial]:
        """Yield the trainable for Tune: the trial itself, or the proxy of a slot in the actor.

        ``use_capacity`` receives the capacity of the actor; None: the actor is not asked.
        """
        from ray import tune

        log = Path(plan.sweep_dir) / LOG_FILE
        if plan.engine is EngineName.PACKED:
            from orchestrator.cluster.tune_pack import TrialProxy, capacity_of, measure_in, pack_actor

            with pack_actor(plan, self._build, placement, log, health.alive) as actor:
                if use_capacity is not None:
                    use_capacity(capacity_of(actor, placement.trials, measure=resources.measured))
                proxy = tune.with_parameters(TrialProxy, plan=plan, actor=actor, log=str(log))
                yield _Trial(proxy, measure_in(actor))
        else:
            from orchestrator.cluster.tune_trial import TrialProcess

            build, process_plan = self._build, plan
            if plan.workers > 1:
                from orchestrator.cluster.train_workers import TrainWorkers

                launch = partial(TrainWorkers, plan=plan, worker=dict(placement.worker), log=str(log))
                build = partial(build_engine, launch=launch)
                process_plan = replace(plan, device="auto")  # the devices belong to the workers
            yield _Trial(tune.with_parameters(TrialProcess, plan=process_plan, build=build, log=str(log)), None)


@contextmanager
def _ray_watched(sweep_dir: Path) -> "Iterator[RayHealth]":
    """Yield the health of Ray. If Ray has ended, convert every error of the block to ``SuspendedError``."""
    from orchestrator.cluster.ray_health import RayHealth

    health = RayHealth(sweep_dir / LOG_FILE)
    try:
        yield health
    except Exception as error:  # every error is raised again, or converted if Ray has ended
        if health.alive() or isinstance(error, SuspendedError):
            raise
        raise health.error from error


def _run_tune(
    dispatcher: Dispatcher, trainable: "type[tune.Trainable]", placement: Placement, storage: Path, health: "RayHealth"
) -> None:
    """Run Tune until the sweep ends. If Tune itself fails, return, so that the caller starts it again."""
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
    except Exception as error:  # Tune stops at unknown errors; a new Tune starts from the ledger
        logging.getLogger("ray.tune").exception("Tune failed")
        if health.alive() and bridge.failure is None and not dispatcher.lost_slots("Tune failed; see the log"):
            bridge.failure = error
    if not health.alive():
        raise bridge.failure or health.error
    if bridge.failure is not None:
        raise bridge.failure
