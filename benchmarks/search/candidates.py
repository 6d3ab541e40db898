"""The untried configurations of a task, from which every policy chooses."""

import random
from collections.abc import Mapping

from optuna import create_study
from optuna.samplers import RandomSampler

from benchmarks.search.simulation import SimulatedTrial
from benchmarks.search.task import Task
from orchestrator.core.seeds import derive_seed
from orchestrator.core.space import ParamValue
from orchestrator.ledger.codec import canonical
from orchestrator.search.candidates import CandidateSet
from orchestrator.search.space import propose


class Candidates:
    """Opens trials of untried configurations; each configuration is tried once.

    A trial replays one of its configuration's replicates. The draw depends on the seed and on the configuration alone,
    so that all policies see the same replicate.

    Attributes:
        task: the task.
        seed: seed of the run.
        params: parameter values of all configurations.
        start_points: the start points given to the policy.
    """

    def __init__(self, task: Task, *, seed: int, start: bool) -> None:
        self.task = task
        self.seed = seed
        self.params: tuple[Mapping[str, ParamValue], ...] = tuple(one.params for one in task.configurations)
        self.start_points = task.start_points if start else ()
        self._keys = [canonical(point) for point in self.params]
        self._set = None if task.space is None else CandidateSet(self.params, task.space)
        self._untried = dict.fromkeys(range(len(self.params)))
        self._draw = random.Random(derive_seed(seed, "random order"))
        self._opened = 0
        self._started = 0

    @property
    def left(self) -> int:
        """Number of untried configurations."""
        return len(self._untried)

    def nearest(self, point: Mapping[str, ParamValue]) -> SimulatedTrial | None:
        """Open the untried configuration nearest to ``point``; None: all are tried."""
        return self.open(self.nearest_index(point)) if self._untried else None

    def start(self) -> SimulatedTrial | None:
        """Open the untried configuration nearest to the next start point; None: no start point is left."""
        if self._started == len(self.start_points) or not self._untried:
            return None
        self._started += 1
        return self.nearest(self.complete(self.start_points[self._started - 1]))

    def random(self) -> SimulatedTrial | None:
        """Open an untried configuration at random; None: all are tried."""
        return self.open(self._draw.choice(list(self._untried))) if self._untried else None

    def complete(self, point: Mapping[str, ParamValue]) -> Mapping[str, ParamValue]:
        """Return a start point with random values for its missing parameters."""
        assert self.task.space is not None, "a start point needs a space"
        study = create_study(sampler=RandomSampler(seed=derive_seed(self.seed, "start point", canonical(point))))
        study.enqueue_trial(dict(point))
        return propose(study.ask(), self.task.space)

    def nearest_index(self, point: Mapping[str, ParamValue]) -> int:
        """Return the index of the untried configuration nearest to ``point``; at least one must be left."""
        assert self._set is not None, "a proposal needs a space"
        tried = {key for index, key in enumerate(self._keys) if index not in self._untried}
        return self._keys.index(canonical(self._set.nearest(point, tried)))

    def open(self, configuration: int, replicate: int | None = None) -> SimulatedTrial:
        """Open a trial of a configuration; None: the replicate is drawn."""
        self._untried.pop(configuration, None)
        replicates = self.task.configurations[configuration].replicates
        if replicate is None:
            replicate = derive_seed(self.seed, "replicate", configuration) % len(replicates)
        trial = SimulatedTrial(
            number=self._opened, configuration=configuration, replicate=replicate, curve=replicates[replicate]
        )
        self._opened += 1
        return trial
