"""The simulated sweeps behind the figures of coverage."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import share
from benchmarks.intervals import FEW_SHOT, fitted, promoted, recorded, simulate, swapped
from benchmarks.leave_one_out import assumed_sd, clustered_share, population, replays
from orchestrator.evaluation.scores.seed_noise import assumed_seed_sd
from orchestrator.statistics.noise import row_covariance

CORRECT, _ = recorded(FEW_SHOT)


def test_simulated_rows_resemble_the_table() -> None:
    world = fitted(CORRECT, 0.005, equal=False)
    assert world.qualities.mean() == pytest.approx(CORRECT.mean())
    simulated = world.classify(world.qualities, 100_000, np.random.default_rng(0))
    assert simulated.mean(axis=1) == pytest.approx(world.qualities, abs=0.01)
    inside = ~np.eye(len(CORRECT), dtype=bool)
    ours, theirs = (len(each[0]) * row_covariance(each.astype(float))[inside].mean() for each in (simulated, CORRECT))
    assert ours == pytest.approx(theirs, abs=0.01)


def test_corrected_intervals_cover_more_than_naive() -> None:
    world, draw = fitted(CORRECT, 0.02, equal=True), np.random.default_rng(0)
    covered: dict[str, list[bool]] = {}
    for _ in range(150):
        for name, interval, truth in simulate(world, 24, 200, 500, 3, draw)[0]:
            covered.setdefault(name, []).append(interval.low <= truth <= interval.high)
    shares = {name: float(np.mean(each)) for name, each in covered.items()}
    assert min(share for name, share in shares.items() if "(ours)" in name) > 0.9
    assert min(share for name, share in shares.items() if "(naive)" in name) < 0.75


def test_replays_leave_the_seed_noise_of_a_table_out() -> None:
    table = population(FEW_SHOT)
    assert table is not None
    assert {len(seeds) for seeds in table.correct} == {5}
    other = replace(table, name="other", training_rows=4 * table.training_rows)
    alone, from_other = assumed_sd(table, []), assumed_sd(table, [other])
    assert alone[0] == assumed_seed_sd(table.training_rows)
    assert from_other[0] == pytest.approx(2 * table.seed_sd)  # a quarter of the rows, twice the noise
    assert from_other[1] == "from other"
    found = replays(table, from_other[0], 60, 200, 500, 3, np.random.default_rng(0))
    shares = {name: sum(each.covered) / sum(each.sweeps) for name, each in found.items()}
    corrected, naive = (
        shares[f"validation, winner chosen there: {how}"] for how in ("corrected (ours)", "rows alone (naive)")
    )
    assert corrected > 0.9
    assert naive < corrected
    assert {sum(each.sweeps) for each in found.values()} == {60}
    assert clustered_share([9, 9], [10, 10]) == " 90.0% (90.0% to 90.0%)"
    assert clustered_share([10, 5], [10, 10]).startswith(" 75.0% (0.0% to 100.0%)")  # two clusters say little
    assert share(15, 20).startswith(" 75.0% (53")


def test_gates_promote_gains_more_than_nulls() -> None:
    draw = np.random.default_rng(0)
    null = np.mean([promoted(1000, 0.1, 0.0, 0.0, draw)[0] for _ in range(300)])
    gain = np.mean([promoted(1000, 0.1, 0.03, 0.0, draw)[0] for _ in range(300)])
    assert null < 0.09
    assert gain > 0.8
    assert np.mean([swapped(CORRECT, draw) for _ in range(300)]) < 0.09
