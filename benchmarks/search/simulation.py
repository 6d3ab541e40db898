"""Simulated time: slots train recorded trials at a constant total throughput in samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.search.task import Replicate

SLOTS = 4


@dataclass(kw_only=True, slots=True, eq=False)
class SimulatedTrial:
    """A trial of a policy, which replays one recorded trial.

    Attributes:
        number: the trial's number in its run.
        configuration: index in the task's configurations.
        replicate: index in the configuration's replicates.
        curve: the recorded trial.
        reported: number of reports so far.
    """

    number: int
    configuration: int
    replicate: int
    curve: Replicate
    reported: int = 0

    @property
    def ended(self) -> bool:
        """Whether the recorded trial has no further report."""
        return self.reported == len(self.curve.samples)

    @property
    def samples(self) -> int:
        """Training samples at the newest report; 0 before the first."""
        return self.curve.samples[self.reported - 1] if self.reported else 0

    @property
    def costs(self) -> Sequence[float]:
        """Validation costs so far."""
        return self.curve.costs[: self.reported]


class Policy(Protocol):
    """A search policy: it opens and resumes trials, and decides after every report."""

    def choose(self, spent: int) -> SimulatedTrial | None:
        """Return the next trial for a free slot, new or paused; None: none before the next report.

        ``spent`` is the number of training samples of all trials so far.
        """
        ...

    def observe(self, trial: SimulatedTrial) -> bool:
        """Return whether ``trial`` continues after its newest report; the answer to its last report is ignored."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The incumbent from one moment on: the trial with the lowest validation cost so far.

    Attributes:
        spent: training samples of all trials at this moment.
        configuration, replicate: indices of the trial.
        samples: training samples of the trial; its checkpoint is its best one until there.
    """

    spent: int
    configuration: int
    replicate: int
    samples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectory:
    """The incumbents of one run, one step for each of their reports, and the samples and trials of the whole run.

    Trials without a report within the budget do not count.
    """

    steps: tuple[Step, ...]
    spent: int
    trials: int


def simulate(policy: Policy, *, budget: int, slots: int = SLOTS) -> Trajectory:
    """Return the trajectory of a policy which may spend ``budget`` training samples.

    The slots share the throughput: with n trials at once, each trains at 1/n of it. Training between the last report
    and the end of the budget is lost.
    """
    spent, best, steps, seen = 0, float("inf"), list[Step](), set[int]()
    incumbent: SimulatedTrial | None = None
    remaining: dict[SimulatedTrial, int] = {}
    while True:
        while len(remaining) < slots and (trial := policy.choose(spent)) is not None:
            remaining[trial] = _until_next_report(trial)
        ahead = min(remaining.values(), default=0)
        if not remaining or spent + ahead * len(remaining) > budget:
            return Trajectory(steps=tuple(steps), spent=spent if not remaining else budget, trials=len(seen))
        spent += ahead * len(remaining)
        remaining = {trial: left - ahead for trial, left in remaining.items()}
        for trial in [trial for trial, left in remaining.items() if left == 0]:
            trial.reported += 1
            seen.add(trial.number)
            if trial.costs[-1] < best:
                best, incumbent = trial.costs[-1], trial
            if trial is incumbent:
                steps.append(_step(spent, trial))
            if policy.observe(trial) and not trial.ended:
                remaining[trial] = _until_next_report(trial)
            else:
                del remaining[trial]


def _until_next_report(trial: SimulatedTrial) -> int:
    return trial.curve.samples[trial.reported] - trial.samples


def _step(spent: int, trial: SimulatedTrial) -> Step:
    return Step(spent=spent, configuration=trial.configuration, replicate=trial.replicate, samples=trial.samples)
