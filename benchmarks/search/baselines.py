"""Policies without a model: random search, top k of early values, the default configuration, and an oracle."""

from typing_extensions import override

from benchmarks.search.candidates import Candidates
from benchmarks.search.quality import Quality
from benchmarks.search.simulation import Policy, SimulatedTrial

TOP = 3
"""Number of trials which the top-k policy trains to the end, as in arXiv 2307.15422."""
EARLY = 8
"""The top-k policy compares trials after this part of a trial's training: one eighth."""


class RandomSearch(Policy):
    """Trains configurations in random order to the end."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates

    @override
    def choose(self, spent: int) -> SimulatedTrial | None:
        return self._candidates.start() or self._candidates.random()

    @override
    def observe(self, trial: SimulatedTrial) -> bool:
        return True


class TopK(Policy):
    """Trains random configurations for one eighth, then the best of them to the end.

    The number of configurations is the largest one that leaves the samples for ``TOP`` whole trials.
    """

    def __init__(self, candidates: Candidates, budget: int) -> None:
        self._candidates = candidates
        full = candidates.task.full_samples
        curve = candidates.task.configurations[0].replicates[0]
        self._early = next((at for at in curve.samples if at * EARLY >= full), full)
        wanted = (budget - TOP * (full - self._early)) // self._early
        self._to_open = max(1, min(wanted, candidates.left))
        self._exploring = 0
        self._paused: list[SimulatedTrial] = []
        self._continued: set[int] = set()

    @override
    def choose(self, spent: int) -> SimulatedTrial | None:
        if self._to_open:
            self._to_open -= 1
            self._exploring += 1
            return self._candidates.start() or self._candidates.random()
        if self._exploring or not self._paused or len(self._continued) == TOP:
            return None
        best = min(self._paused, key=lambda trial: min(trial.costs))
        self._paused.remove(best)
        self._continued.add(best.number)
        return best

    @override
    def observe(self, trial: SimulatedTrial) -> bool:
        if trial.number in self._continued:
            if trial.ended:
                self._continued.remove(trial.number)
            return True
        if trial.samples < self._early and not trial.ended:
            return True
        self._exploring -= 1
        if not trial.ended:
            self._paused.append(trial)
        return False


class DefaultAlone(Policy):
    """Trains the first start point with one seed after another, as many as the table has."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._configuration = candidates.nearest_index(candidates.complete(candidates.task.start_points[0]))
        self._left = len(candidates.task.configurations[self._configuration].replicates)

    @override
    def choose(self, spent: int) -> SimulatedTrial | None:
        if not self._left:
            return None
        self._left -= 1
        return self._candidates.open(self._configuration, self._left)

    @override
    def observe(self, trial: SimulatedTrial) -> bool:
        return True


class Oracle(Policy):
    """Knows the table and trains its best configuration: the limit for every policy."""

    def __init__(self, candidates: Candidates, quality: Quality) -> None:
        self._trials = [candidates.open(quality.best_configuration)]

    @override
    def choose(self, spent: int) -> SimulatedTrial | None:
        return self._trials.pop() if self._trials else None

    @override
    def observe(self, trial: SimulatedTrial) -> bool:
        return True
