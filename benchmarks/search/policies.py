"""The compared policies by name, and one run of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.search import ours
from benchmarks.search.baselines import DefaultAlone, Oracle, RandomSearch, TopK
from benchmarks.search.candidates import Candidates
from benchmarks.search.optuna_hyperband import TpeHyperband
from benchmarks.search.pasha import Pasha
from benchmarks.search.quality import Quality
from benchmarks.search.ray_tune import RayAsha, RayAshaOptuna
from benchmarks.search.simulation import Policy, Trajectory, simulate
from orchestrator.core.seeds import derive_seed
from orchestrator.replay.table import TrialTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The input of one run.

    Attributes:
        quality: the task with its quality.
        seed: seed of the policy and of its replicates.
        start: whether the policy gets the start points.
        budget: training samples.
        overrides: further overrides ``a.b=value`` for the policy ``now``.
    """

    quality: Quality
    seed: int
    start: bool
    budget: int
    overrides: tuple[str, ...] = ()

    @property
    def own_seed(self) -> int:
        """The seed with the table's name: with equal seeds, a lucky order of proposals would be lucky on all tables."""
        return derive_seed(self.seed, self.quality.task.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One compared policy.

    Attributes:
        description: one line for the result.
        run: returns the trajectory of one run.
        needs_space: whether the policy models a space.
        needs_table: whether the policy replays a table.
        needs_start: whether the policy trains the default configuration.
        chooses_seed: whether the policy chooses among seeds of one configuration; its winner is one trial then.
    """

    description: str
    run: Callable[[Setting], Trajectory]
    needs_space: bool = False
    needs_table: bool = False
    needs_start: bool = False
    chooses_seed: bool = False


def _simulated(build: Callable[[Candidates, Setting], Policy]) -> Callable[[Setting], Trajectory]:
    def run(setting: Setting) -> Trajectory:
        candidates = Candidates(setting.quality.task, seed=setting.own_seed, start=setting.start)
        return simulate(build(candidates, setting), budget=setting.budget)

    return run


def _ours(overrides: Callable[[TrialTable, Setting], Sequence[str]]) -> Callable[[Setting], Trajectory]:
    def run(setting: Setting) -> Trajectory:
        return ours.run_ours(
            setting.quality.task,
            lambda table: overrides(table, setting),
            seed=setting.own_seed,
            start=setting.start,
            budget=setting.budget,
        )

    return run


POLICIES: dict[str, Entry] = {
    "now": Entry(
        description="this product with its defaults, and with --set",
        run=_ours(lambda table, setting: (*ours.now(table), *setting.overrides)),
        needs_table=True,
    ),
    "before": Entry(
        description="this product with the search of sweeps/sentiment.yaml of 27 November 2026",
        run=_ours(lambda table, _: ours.before(table)),
        needs_table=True,
    ),
    "ray-asha-optuna": Entry(
        description="Ray Tune: AsyncHyperBandScheduler with OptunaSearch",
        run=_simulated(lambda candidates, _: RayAshaOptuna(candidates)),
        needs_space=True,
    ),
    "ray-asha-random": Entry(
        description="Ray Tune: AsyncHyperBandScheduler, random order",
        run=_simulated(lambda candidates, _: RayAsha(candidates)),
    ),
    "optuna-hyperband": Entry(
        description="Optuna: TPESampler with HyperbandPruner",
        run=_simulated(lambda candidates, _: TpeHyperband(candidates)),
        needs_space=True,
    ),
    "random": Entry(
        description="random search, whole trials", run=_simulated(lambda candidates, _: RandomSearch(candidates))
    ),
    "top-k": Entry(
        description="random, then the best 3 after one eighth of their training",
        run=_simulated(lambda candidates, setting: TopK(candidates, setting.budget)),
    ),
    "default-alone": Entry(
        description="the first start point, further seeds of it",
        run=_simulated(lambda candidates, _: DefaultAlone(candidates)),
        needs_start=True,
        chooses_seed=True,
    ),
    "pasha": Entry(
        description="PASHA, random order", run=_simulated(lambda candidates, setting: Pasha(candidates, setting.budget))
    ),
    "oracle": Entry(
        description="knows the table: trains its best configuration alone",
        run=_simulated(lambda candidates, setting: Oracle(candidates, setting.quality)),
    ),
}
REFERENCE_RIVAL = "ray-asha-optuna"
"""The rival whose final quality the others have to reach."""


def possible(entry: Entry, setting: Setting) -> bool:
    """Return whether a policy can run on a task."""
    task = setting.quality.task
    return not (
        (entry.needs_space and task.space is None)
        or (entry.needs_table and task.table is None)
        or (entry.needs_start and not task.start_points)
    )
