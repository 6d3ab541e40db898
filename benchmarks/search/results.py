"""The runs of a comparison, and their figures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.search.policies import POLICIES, REFERENCE_RIVAL, Setting, possible
from benchmarks.search.quality import Quality


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """One run of a policy.

    Attributes:
        policy, table, seed, start: what ran; ``start``: with the start points.
        spent: training samples at each change of the incumbent, ascending.
        regrets: regret of each incumbent: its expected test cost less the table's best one.
        full_samples: samples of one whole trial of the table.
        trials: number of trials.
        seed_deviation: standard deviation of a test cost between seeds of the table.
    """

    policy: str
    table: str
    seed: int
    start: bool
    spent: tuple[int, ...]
    regrets: tuple[float, ...]
    full_samples: int
    trials: int
    seed_deviation: float

    @property
    def regret(self) -> float:
        """Regret of the winner; inf without one."""
        return self.regrets[-1] if self.regrets else math.inf

    @property
    def reached(self) -> float:
        """Samples until the incumbent was within one seed's standard deviation of the table's best; inf: never."""
        return self.samples_to(self.seed_deviation)

    def samples_to(self, regret: float) -> float:
        """Return the samples until an incumbent first had at most this regret; inf: never."""
        return next((float(at) for at, each in zip(self.spent, self.regrets, strict=True) if each <= regret), math.inf)

    def regret_at(self, samples: float) -> float:
        """Return the regret after so many samples; NaN before the first report."""
        earlier = [each for at, each in zip(self.spent, self.regrets, strict=True) if at <= samples]
        return earlier[-1] if earlier else math.nan


def run(
    qualities: Sequence[Quality],
    policies: Sequence[str],
    *,
    seeds: int,
    budget: float,
    start: bool,
    overrides: tuple[str, ...] = (),
    progress: Callable[[str], None],
) -> list[RunResult]:
    """Run every policy on every table with every seed.

    Args:
        qualities: the tables.
        policies: names of ``POLICIES``.
        seeds: number of runs of each policy on each table.
        budget: training samples of a run, in whole trials of the table.
        start: give the start points to all policies.
        overrides: further overrides for the policy ``now``.
        progress: called with one line before each table and policy.
    """
    results = []
    for quality in qualities:
        for name in policies:
            entry = POLICIES[name]
            settings = [
                Setting(
                    quality=quality,
                    seed=seed,
                    start=start,
                    budget=round(budget * quality.task.full_samples),
                    overrides=overrides,
                )
                for seed in range(seeds)
            ]
            if possible(entry, settings[0]):
                progress(f"{quality.task.name}: {name}")
                results += [_result(name, setting) for setting in settings]
    return results


def _result(name: str, setting: Setting) -> RunResult:
    entry, quality = POLICIES[name], setting.quality
    trajectory = entry.run(setting)
    cost = quality.own_cost if entry.chooses_seed else quality.cost
    regrets = tuple(cost(step) - quality.best for step in trajectory.steps)
    return RunResult(
        policy=name,
        table=quality.task.name,
        seed=setting.seed,
        start=setting.start,
        spent=tuple(step.spent for step in trajectory.steps),
        regrets=regrets,
        full_samples=quality.task.full_samples,
        trials=trajectory.trials,
        seed_deviation=quality.seed_deviation,
    )


def speed_ratios(results: Sequence[RunResult], policy: str, table: str) -> list[float]:
    """Return the samples of a policy over those of ``REFERENCE_RIVAL`` until the rival's final quality, for each seed.

    The rival's samples are those until it first had its final quality, not its whole budget. inf: never reached. Empty
    if the rival did not run on the table.
    """
    runs = [one for one in results if one.table == table]
    rivals = {one.seed: one for one in runs if one.policy == REFERENCE_RIVAL}
    return [
        one.samples_to(rivals[one.seed].regret) / rivals[one.seed].samples_to(rivals[one.seed].regret)
        for one in runs
        if one.policy == policy and one.seed in rivals
    ]
