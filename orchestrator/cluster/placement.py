"""Ray's resources for a sweep: its Tune trials and, for a pack, the slot host."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import Resources

_PROXY_CPUS = 0.001  # nearly zero; Tune refuses trials without any resource


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Amounts of Ray's resources ``CPU`` and ``GPU``.

    Attributes:
        trials: number of Tune trials at once.
        trial: resources of each Tune trial.
        host: resources of the slot host; empty if each trial trains in its own process.
        worker: resources of each worker of a trial; empty if a trial has one process.
        workers: number of workers of a trial.
    """

    trials: int
    trial: Mapping[str, float]
    host: Mapping[str, float] = field(default_factory=dict)
    worker: Mapping[str, float] = field(default_factory=dict)
    workers: int = 0

    @property
    def cpus(self) -> int:
        """Total number of CPUs."""
        of_trial = self.trial["CPU"] + self.workers * self.worker.get("CPU", 0.0)
        return math.ceil(self.trials * of_trial + self.host.get("CPU", 0.0))

    @property
    def threads(self) -> int:
        """CPU threads of a training process."""
        return math.ceil(max(each.get("CPU", 0.0) for each in (self.trial, self.host, self.worker)))

    def most(self, kind: str) -> float:
        """Return the largest amount of a resource for one process, or for the workers of one trial."""
        return max(self.trial.get(kind, 0.0), self.host.get(kind, 0.0), self.workers * self.worker.get(kind, 0.0))


def place(plan: EnginePlan, resources: Resources) -> Placement:
    """Return the resources of a sweep. Packed trials are light, and share one host with one accelerator."""
    if plan.engine is EngineName.PACKED:
        return Placement(
            trials=resources.parallel_trials,
            trial={"CPU": _PROXY_CPUS},
            host={"CPU": plan.threads, "GPU": 1.0 if resources.gpus_per_trial else 0.0},
        )
    if plan.workers > 1:
        # Ray Train takes the resources of the workers; the trial's own process only waits for them.
        cpus, gpus = max(1, resources.cpus_per_trial // plan.workers), resources.gpus_per_trial / plan.workers
        return Placement(
            trials=resources.parallel_trials,
            trial={"CPU": _PROXY_CPUS},
            worker={"CPU": float(cpus), **({"GPU": gpus} if gpus else {})},
            workers=plan.workers,
        )
    return Placement(
        trials=resources.parallel_trials,
        trial={"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial},
    )
