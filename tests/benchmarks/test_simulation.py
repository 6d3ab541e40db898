"""Simulated time, candidates and distances."""

from benchmarks.search.baselines import DefaultAlone, Oracle, RandomSearch, TopK
from benchmarks.search.candidates import Candidates
from benchmarks.search.pasha import Pasha
from benchmarks.search.quality import features, quality_of
from benchmarks.search.simulation import simulate
from benchmarks.search.task import Task
from orchestrator.core.space import ParamValue
from tests.benchmarks.tasks import SPACE, curve, task


def candidates(of: Task, *, seed: int = 0, start: bool = False) -> Candidates:
    return Candidates(of, seed=seed, start=start)


def test_slots_share_the_throughput() -> None:
    trajectory = simulate(RandomSearch(candidates(task([curve(3, 2), curve(5, 1)]))), budget=400, slots=2)
    assert sorted({step.spent for step in trajectory.steps}) == [200, 400]  # both trials report at both moments
    assert trajectory.steps[-1].configuration == 1


def test_budget_cuts_unfinished_reports() -> None:
    trajectory = simulate(RandomSearch(candidates(task([curve(3, 2), curve(5, 1)]))), budget=399, slots=2)
    assert {step.spent for step in trajectory.steps} == {200}
    assert trajectory.spent == 399


def test_run_ends_when_all_configurations_are_tried() -> None:
    trajectory = simulate(RandomSearch(candidates(task([curve(3, 2), curve(5, 1)]))), budget=10_000)
    assert (trajectory.trials, trajectory.spent) == (2, 400)


def test_trials_without_a_report_do_not_count() -> None:
    curves = [curve(3), curve(5), curve(4)]
    trajectory = simulate(RandomSearch(candidates(task(curves))), budget=200, slots=2)
    assert (trajectory.trials, trajectory.spent) == (2, 200)


def test_incumbent_has_the_lowest_validation_cost() -> None:
    trajectory = simulate(RandomSearch(candidates(task([curve(3, 2), curve(4, 1), curve(9, 8)]))), budget=10_000)
    assert trajectory.steps[-1].configuration == 1


def test_features_mark_inactive_parameters() -> None:
    assert features(SPACE, {"rate": 1.0, "method": "vera"}) == [0.0, 1.0, -1.0]


def test_nearest_candidate_is_tried_once() -> None:
    pool = candidates(task([curve(1), curve(2), curve(3)]))
    point: dict[str, ParamValue] = {"rate": 1e-4, "method": "lora", "rank": 4}
    opened = [pool.nearest(point), pool.nearest(point), pool.nearest(point), pool.nearest(point)]
    assert [None if trial is None else trial.configuration for trial in opened] == [0, 1, 2, None]


def test_replicate_depends_on_seed_and_configuration_alone() -> None:
    one = task([tuple(curve(cost) for cost in range(1, 9)) for _ in range(3)])
    first, second = candidates(one, seed=3), candidates(one, seed=3)
    second.random()
    assert first.open(2).replicate == second.open(2).replicate


def test_start_points_come_first() -> None:
    one = task([curve(1), curve(2), curve(3)], start_points=[{"rate": 1e-2}, {"rate": 1e-3}])
    trajectory = simulate(RandomSearch(candidates(one, start=True)), budget=300, slots=1)
    assert [step.configuration for step in trajectory.steps] == [2, 1, 0]


def test_top_k_continues_the_best_early_trials() -> None:
    curves = [curve(*[float(index)] * 8) for index in range(1, 11)]
    one = task(curves)
    policy = TopK(candidates(one), budget=10 * 100 + 3 * 700)
    trajectory = simulate(policy, budget=10 * 100 + 3 * 700)
    assert (trajectory.trials, trajectory.spent) == (10, 3100)
    assert (trajectory.steps[-1].configuration, trajectory.steps[-1].samples) == (0, 800)


def test_default_alone_trains_every_seed() -> None:
    one = task([curve(1), (curve(5), curve(4), curve(6))], start_points=[{"rate": 1e-2}])
    trajectory = simulate(DefaultAlone(candidates(one)), budget=10_000)
    assert (trajectory.trials, trajectory.steps[-1].configuration, trajectory.steps[-1].replicate) == (3, 1, 1)


def test_oracle_trains_the_best_configuration_alone() -> None:
    one = task([curve(3, 2), curve(5, 1)])
    trajectory = simulate(Oracle(candidates(one), quality_of(one)), budget=10_000)
    assert (trajectory.trials, trajectory.spent, trajectory.steps[-1].configuration) == (1, 200, 1)


def test_pasha_keeps_its_rungs_while_rankings_agree() -> None:
    steady = task([curve(*[float(index)] * 27) for index in range(40)])
    policy = Pasha(candidates(steady), budget=10**6)
    trajectory = simulate(policy, budget=10**6)
    assert len(policy.rungs_in_use) == 2
    assert (trajectory.steps[-1].configuration, trajectory.steps[-1].samples) == (0, 2700)


def test_pasha_opens_a_rung_when_rankings_differ() -> None:
    swapping = task([curve(index, 0, *[40.0 - index] * 25) for index in range(40)])
    policy = Pasha(candidates(swapping), budget=10**6)
    simulate(policy, budget=10**6)
    assert len(policy.rungs_in_use) > 2
