"""Trials in processes of their own, scheduled by Ray Tune. Ray is imported when the sweep runs, not before."""

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cluster.dispatcher import Dispatcher
from orchestrator.cluster.ray_environment import environment, tune_variables
from orchestrator.cluster.worker import EngineFactory
from orchestrator.core.plan import EnginePlan
from orchestrator.core.policy import Resources
from orchestrator.training.build import build_engine

if TYPE_CHECKING:
    from orchestrator.search.coordinator import Coordinator

LOG_FILE = "ray.log"
"""File in the sweep's folder that gets what Ray, Tune and the trials' processes say."""


class TuneExecutor:
    """Runs up to ``resources.parallel_trials`` trials at once, on this machine or on the user's Ray cluster."""

    def __init__(self, build: EngineFactory = build_engine) -> None:
        self._build = build

    def run(self, coordinator: "Coordinator", plan: EnginePlan, resources: Resources, stop: threading.Event) -> None:
        """Run the sweep's trials; see ``Executor.run``."""
        dispatcher = Dispatcher(coordinator, parallel=resources.parallel_trials, stop=stop)
        if dispatcher.done:
            return
        with environment(tune_variables(resources)):  # Ray reads some of it when it is imported
            from orchestrator.cluster.ray_session import ray_session

        sweep_dir = Path(plan.sweep_dir)
        try:
            with ray_session(sweep_dir, resources, sweep_dir / LOG_FILE) as storage:
                while not (dispatcher.done or dispatcher.halted):
                    self._run_tune(dispatcher, plan, resources, storage)
        finally:
            if not dispatcher.done:
                coordinator.suspend()

    def _run_tune(self, dispatcher: Dispatcher, plan: EnginePlan, resources: Resources, storage: Path) -> None:
        """Let Tune run until the sweep ends; if Tune itself fails, return, so that it is started again."""
        from ray import tune

        from orchestrator.cluster.tune_bridge import Bridge, DispatchScheduler, DispatchSearcher, HaltStopper
        from orchestrator.cluster.tune_trial import TrialProxy

        bridge = Bridge(dispatcher)
        log = Path(plan.sweep_dir) / LOG_FILE
        need = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}
        try:
            tune.run(
                tune.with_parameters(TrialProxy, plan=plan, build=self._build, log=str(log)),
                name="sweep",
                search_alg=DispatchSearcher(bridge),
                scheduler=DispatchScheduler(bridge),
                stop=HaltStopper(bridge),
                num_samples=-1,
                resources_per_trial=tune.PlacementGroupFactory([need]),
                reuse_actors=True,
                storage_path=str(storage),
                trial_dirname_creator=lambda trial: str(trial.trial_id),
                raise_on_failed_trial=False,
                verbose=0,
            )
        except Exception as error:  # Tune gives up on errors that it does not know; the ledger can start another
            logging.getLogger("ray.tune").exception("Tune failed")
            if bridge.failure is None and not dispatcher.lost_slots("Tune failed; see the log"):
                bridge.failure = error
        if bridge.failure is not None:
            raise bridge.failure
