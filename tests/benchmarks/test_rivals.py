"""The rivals' real classes, driven in simulated time."""

import math

import optuna
import pytest

from benchmarks.search.candidates import Candidates
from benchmarks.search.compare import MARGIN, compare, summarise
from benchmarks.search.markdown import markdown
from benchmarks.search.policies import POLICIES, Setting, possible
from benchmarks.search.quality import Quality, quality_of
from benchmarks.search.ray_tune import RayAsha, RayAshaOptuna
from benchmarks.search.results import RunResult, run
from benchmarks.search.simulation import simulate
from benchmarks.search.synthetic import synthetic_task
from tests.benchmarks.tasks import curve, task


@pytest.fixture(scope="module")
def quality() -> Quality:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return quality_of(synthetic_task(0, configurations=24))


def setting(quality: Quality, *, seed: int = 1) -> Setting:
    return Setting(quality=quality, seed=seed, start=True, budget=4 * quality.task.full_samples)


@pytest.mark.parametrize("name", POLICIES)
def test_policy_repeats_and_keeps_to_its_budget(name: str, quality: Quality) -> None:
    trajectory = POLICIES[name].run(setting(quality))
    assert trajectory == POLICIES[name].run(setting(quality))
    assert 0 < trajectory.spent <= 4 * quality.task.full_samples
    assert trajectory.steps


@pytest.mark.parametrize("name", POLICIES)
def test_policy_without_a_model_needs_no_space(name: str) -> None:
    quality = quality_of(task([curve(3, 2), curve(5, 1)], space=None))
    one = Setting(quality=quality, seed=0, start=False, budget=400)
    entry = POLICIES[name]
    assert possible(entry, one) is not (entry.needs_space or entry.needs_start or entry.needs_table)
    if possible(entry, one):
        assert entry.run(one).steps


def test_ray_asha_stops_the_worse_trial_at_the_first_rung() -> None:
    pool = Candidates(task([curve(1, 1, 1, 1), curve(9, 9, 9, 0)]), seed=0, start=False)
    policy = RayAsha(pool)
    first, second = policy.choose(0), policy.choose(0)
    assert first is not None
    assert second is not None
    good, bad = sorted((first, second), key=lambda trial: trial.configuration)
    good.reported = bad.reported = 1
    assert policy.observe(good)
    assert not policy.observe(bad)


def test_optuna_search_learns_the_trained_configurations(quality: Quality) -> None:
    pool = Candidates(quality.task, seed=0, start=True)
    policy = RayAshaOptuna(pool)
    simulate(policy, budget=4 * quality.task.full_samples)
    held = [trial.params for trial in policy.study_trials]
    assert len(held) > 5
    assert all(params in [dict(one) for one in pool.params] for params in held)


def result(policy: str, table: str, seed: int, *regrets: float) -> RunResult:
    return RunResult(
        policy=policy,
        table=table,
        seed=seed,
        start=True,
        spent=tuple(100 * (index + 1) for index in range(len(regrets))),
        regrets=regrets,
        full_samples=100,
        trials=3,
        seed_deviation=0.05,
    )


RUNS = [
    *(result("ray-asha-optuna", table, seed, 0.3, 0.2, 0.1, 0.1) for table in "ab" for seed in range(4)),
    *(result("ours", table, seed, 0.1, 0.04) for table in "ab" for seed in range(4)),
]


def test_samples_until_the_rivals_quality() -> None:
    summary = summarise(RUNS, "ours")
    assert summary.speed is not None
    assert summary.speed.value == pytest.approx(100 / 300)  # the rival had its last quality after 300 samples
    assert (summary.reached, summary.reached_share) == (2.0, 1.0)
    assert summary.regret.value == pytest.approx(0.04)


def test_unreached_quality_is_infinite() -> None:
    assert summarise(RUNS, "ray-asha-optuna").reached == float("inf")


def test_comparison_is_paired() -> None:
    (one,) = compare(RUNS, "ours", ["ray-asha-optuna", "absent"])
    assert one.difference.value == one.difference.low == one.difference.high == pytest.approx(-0.06)
    assert (one.better, one.tables) == (2, 2)
    assert one.p_worse < 0.01
    (other,) = compare(RUNS, "ray-asha-optuna", ["ours"])
    assert other.difference.value > MARGIN
    assert other.p_worse == 1.0


def test_tables_are_the_observations() -> None:
    """Differences of -0.05 and -0.01 have the mean -0.03 and the standard error 0.02, however many seeds there are."""
    rivals = [result("rival", table, seed, 0.1) for table in "ab" for seed in range(9)]
    own = [result("own", table, seed, regret) for table, regret in (("a", 0.05), ("b", 0.09)) for seed in range(9)]
    (one,) = compare([*own, *rivals], "own", ["rival"])
    assert one.p_worse == pytest.approx(0.5 + math.atan((-0.03 - MARGIN) / 0.02) / math.pi)  # Cauchy's distribution
    assert one.difference.low == pytest.approx(-0.03 - 12.7062 * 0.02, abs=1e-5)
    (single,) = compare([*own[:9], *rivals[:9]], "own", ["rival"])
    assert single.p_worse == 1.0


def test_markdown_has_a_row_for_each_policy() -> None:
    summaries = [summarise(RUNS, policy) for policy in ("ours", "ray-asha-optuna")]
    page = markdown(
        "with start points",
        summaries,
        compare(RUNS, "ours", ["ray-asha-optuna"]),
        reference="ours",
        rival="ray-asha-optuna",
    )
    assert "| ours | 0.0400 | 0.0400 | 3 | 100% | 0.33 |  |  |  |" in page
    assert (
        "| ray-asha-optuna | 0.1000 | 0.1000 | 3 | 0% | 1.00 | -0.0600 (-0.0600 to -0.0600) | 2 of 2 | 0.000 |" in page
    )


def test_runs_skip_impossible_policies(quality: Quality) -> None:
    small = quality_of(task([curve(3, 2), curve(5, 1)], space=None))
    results = run([small], ["random", "optuna-hyperband"], seeds=2, budget=2, start=True, progress=lambda _: None)
    assert [(one.policy, one.seed) for one in results] == [("random", 0), ("random", 1)]
