"""PASHA (arXiv 2207.06940): successive halving which raises its highest rung only while the ranking is unstable.

Written from the paper. The authors' class was part of syne-tune up to 0.14, which needs numpy below 1.27; since 0.15,
syne-tune has no PASHA.
"""

from itertools import combinations

import numpy as np
from typing_extensions import override

from benchmarks.search.candidates import Candidates
from benchmarks.search.simulation import SLOTS, Policy, SimulatedTrial

REDUCTION = 3
PERCENTILE = 90
"""Percentile of the cost differences which count as noise, as in the paper."""


class Pasha(Policy):
    """PASHA over configurations in random order, with soft ranking.

    Rung k is the first report point times ``REDUCTION`` to the power k, or the next report after it. Trials pause at a
    rung, and the best of each rung continue. Two rungs are open at first. The next one opens when the two highest open
    rungs rank their common trials differently by more than the noise. When the samples left are just enough for one
    whole trial, or no configuration is left, the incumbent alone continues to the end: the paper retrains it outside of
    its budget.
    """

    def __init__(self, candidates: Candidates, budget: int) -> None:
        self._candidates, self._budget = candidates, budget
        full = candidates.task.full_samples
        self._reserve = full + SLOTS * candidates.task.first_samples
        self._levels = [candidates.task.first_samples]
        while self._levels[-1] * REDUCTION < full:
            self._levels.append(self._levels[-1] * REDUCTION)
        self._levels.append(full)
        self._rungs: list[list[tuple[float, SimulatedTrial]]] = [[] for _ in self._levels]
        self._continued: list[set[int]] = [set() for _ in self._levels]
        self._top = min(1, len(self._levels) - 1)
        self._target: dict[int, int] = {}
        self._finishing: SimulatedTrial | None = None
        self._paused: dict[int, SimulatedTrial] = {}

    @property
    def rungs_in_use(self) -> list[int]:
        """Report points of the open rungs, ascending."""
        return self._levels[: self._top + 1]

    @override
    def choose(self, spent: int) -> SimulatedTrial | None:
        if self._finishing is not None:
            return None
        if spent and self._budget - spent <= self._reserve:
            return self._finish()
        for rung in range(self._top - 1, -1, -1):
            ranked = sorted(self._rungs[rung], key=lambda entry: entry[0])
            for _, trial in ranked[: len(ranked) // REDUCTION]:
                if trial.number not in self._continued[rung] and trial.number in self._paused:
                    self._continued[rung].add(trial.number)
                    self._target[trial.number] = rung + 1
                    return self._paused.pop(trial.number)
        opened = self._candidates.start() or self._candidates.random()
        if opened is not None:
            self._target[opened.number] = 0
            return opened
        return None if len(self._target) > len(self._paused) else self._finish()

    def _finish(self) -> SimulatedTrial | None:
        """Return the trial with the lowest cost, to continue it to the end; None: it has ended or trains already."""
        seen = {trial.number: trial for rung in self._rungs for _, trial in rung}
        best = min(seen.values(), key=lambda trial: min(trial.costs), default=None)
        if best is None:
            return None
        self._finishing = best
        self._target[best.number] = len(self._levels) - 1
        return self._paused.pop(best.number, None)

    @override
    def observe(self, trial: SimulatedTrial) -> bool:
        if self._finishing is not None and trial is not self._finishing:
            return False
        rung = self._target[trial.number]
        if trial.samples < self._levels[rung] and not trial.ended:
            return True
        self._rungs[rung].append((trial.costs[-1], trial))
        self._raise_top()
        if not trial.ended:
            self._paused[trial.number] = trial
        return False

    def _raise_top(self) -> None:
        """Open the next rung if the two highest open rungs disagree on the ranking."""
        top = sorted(self._rungs[self._top], key=lambda entry: entry[0])
        common = {trial.number for _, trial in top}
        below = sorted(
            (entry for entry in self._rungs[self._top - 1] if entry[1].number in common), key=lambda entry: entry[0]
        )
        if self._top == len(self._levels) - 1 or len(below) < 2 or len(below) != len(top):
            return
        noise = self._noise([trial for _, trial in top])
        for (_, trial), (cost, _) in zip(top, below, strict=True):
            alike = {other.number for other_cost, other in below if abs(other_cost - cost) <= noise}
            if trial.number not in alike:
                self._top += 1
                return

    @staticmethod
    def _noise(trials: list[SimulatedTrial]) -> float:
        """Return the noise: a percentile of the last differences of trials which swapped their order and swapped back.

        Returns 0 if no pair did.
        """
        differences = []
        for one, other in combinations(trials, 2):
            shared = min(one.reported, other.reported)
            ahead = np.array(one.costs[:shared]) > np.array(other.costs[:shared])
            if np.count_nonzero(ahead[1:] != ahead[:-1]) >= 2:
                differences.append(abs(one.costs[shared - 1] - other.costs[shared - 1]))
        return float(np.percentile(differences, PERCENTILE)) if differences else 0.0
