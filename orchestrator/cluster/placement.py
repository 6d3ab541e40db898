"""What a sweep's processes take of Ray: its Tune trials and, if they are packed, the host that trains for them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.plan import EngineName, EnginePlan
from orchestrator.core.policy import Resources

_PROXY_CPUS = 0.001  # next to nothing; Tune refuses to place a trial that takes nothing at all


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Amounts of Ray's resources ``CPU`` and ``GPU``.

    Attributes:
        trials: Tune trials at once.
        trial: what each of them takes.
        host: what the slot host takes that trains for them; empty if each trains in its own process.
    """

    trials: int
    trial: Mapping[str, float]
    host: Mapping[str, float] = field(default_factory=dict)

    @property
    def cpus(self) -> int:
        """CPUs that all of it takes together."""
        return math.ceil(self.trials * self.trial["CPU"] + self.host.get("CPU", 0.0))

    @property
    def threads(self) -> int:
        """CPU threads of a process that trains."""
        return math.ceil(self.most("CPU"))

    def most(self, kind: str) -> float:
        """Return how much of a resource one process takes at most."""
        return max(self.trial.get(kind, 0.0), self.host.get(kind, 0.0))


def place(plan: EnginePlan, resources: Resources) -> Placement:
    """Return what a sweep takes: trials that are packed are light, and share one host with one accelerator."""
    if plan.engine is EngineName.PACKED:
        return Placement(
            trials=resources.parallel_trials,
            trial={"CPU": _PROXY_CPUS},
            host={"CPU": plan.threads, "GPU": 1.0 if resources.gpus_per_trial else 0.0},
        )
    return Placement(
        trials=resources.parallel_trials,
        trial={"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial},
    )
