"""The untried configurations of a task, from which every policy chooses."""

import random
from collections.abc import Mapping

from benchmarks.search.distance import distance, partial_distance
from benchmarks.search.simulation import SimulatedTrial
from benchmarks.search.task import Task
from orchestrator.core.seeds import derive_seed
from orchestrator.core.space import ParamValue


class Candidates:
    """Opens trials of untried configurations; each configuration is tried once.

    A trial replays one of its configuration's replicates. The draw depends on the seed and on the configuration alone,
    so that all policies see the same replicate.
    """

    def __init__(self, task: Task, *, seed: int, start: bool) -> None:
        self.task = task
        self.seed = seed
        self.start_points = task.start_points if start else ()
        self._untried = dict.fromkeys(range(len(task.configurations)))
        self._draw = random.Random(derive_seed(seed, "random order"))
        self._opened = 0
        self._started = 0

    @property
    def params(self) -> tuple[Mapping[str, ParamValue], ...]:
        """Parameter values of all configurations."""
        return tuple(one.params for one in self.task.configurations)

    @property
    def left(self) -> int:
        """Number of untried configurations."""
        return len(self._untried)

    def nearest(self, point: Mapping[str, ParamValue]) -> SimulatedTrial | None:
        """Open the untried configuration nearest to ``point``; None: all are tried."""
        if not self._untried:
            return None
        assert self.task.space is not None, "a proposal needs a space"
        space = self.task.space
        return self.open(min(self._untried, key=lambda index: distance(space, point, self.params[index])))

    def start(self) -> SimulatedTrial | None:
        """Open the untried configuration nearest to the next start point; None: no start point is left."""
        if self._started == len(self.start_points) or not self._untried:
            return None
        point = self.start_points[self._started]
        self._started += 1
        return self.open(self.nearest_to_partial(point))

    def random(self) -> SimulatedTrial | None:
        """Open an untried configuration at random; None: all are tried."""
        return self.open(self._draw.choice(list(self._untried))) if self._untried else None

    def nearest_to_partial(self, point: Mapping[str, ParamValue]) -> int:
        """Return the untried configuration nearest to a point without some values."""
        space = self.task.space
        assert space is not None, "a start point needs a space"
        return min(self._untried, key=lambda index: partial_distance(space, point, self.params[index]))

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
