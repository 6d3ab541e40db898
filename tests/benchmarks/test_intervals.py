"""The simulated sweeps behind the figures of coverage."""

import numpy as np
import pytest

from benchmarks.intervals import FEW_SHOT, fitted, promoted, recorded, simulate, swapped
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


def test_gates_promote_gains_more_than_nulls() -> None:
    draw = np.random.default_rng(0)
    null = np.mean([promoted(1000, 0.1, 0.0, 0.0, draw)[0] for _ in range(300)])
    gain = np.mean([promoted(1000, 0.1, 0.03, 0.0, draw)[0] for _ in range(300)])
    assert null < 0.09
    assert gain > 0.8
    assert np.mean([swapped(CORRECT, draw) for _ in range(300)]) < 0.09
