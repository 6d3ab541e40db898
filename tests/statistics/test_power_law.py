"""Forecasts for more training rows: exact curves, coverage, and no gain where there is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.statistics.power_law import fit_power_law, forecast_gains

Array = NDArray[np.float64]
ROWS = np.repeat([50.0, 100.0, 200.0, 400.0], 3)


def test_exact_curve_is_found() -> None:
    law = fit_power_law(ROWS, 0.1 + 2 * ROWS**-0.5)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((0.1, 2, 0.5), rel=1e-3)
    assert law.error(800) == pytest.approx(0.1 + 2 * 800**-0.5, rel=1e-4)


def test_floor_is_never_negative() -> None:
    law = fit_power_law(ROWS, 0.5 - 0.05 * np.log(ROWS / 50))
    assert law.floor >= 0


def forecasts(law: tuple[float, float, float], *, sd: float, test_rows: int, seed: int) -> tuple[float, float, float]:
    """Return the true gain of twice the rows and the limits of its interval, for simulated trainings."""
    floor, scale, exponent = law
    generator = np.random.default_rng(seed)
    errors_t = floor + scale * ROWS**-exponent + sd * generator.standard_normal(len(ROWS))
    ranks_n = generator.uniform(size=test_rows)  # a row is wrong if its rank is below the error: rows are common
    wrong_tn = ranks_n[None, :] < errors_t[:, None]
    counts_dn = generator.multinomial(test_rows, np.full(test_rows, 1 / test_rows), size=400)
    [gain] = forecast_gains(ROWS, wrong_tn.mean(axis=1), counts_dn @ wrong_tn.T / test_rows, (2.0,), generator)
    return scale * (400**-exponent - 800**-exponent), gain.low, gain.high


@pytest.mark.parametrize("law", [(0.1, 2.0, 0.5), (0.05, 1.0, 0.25), (0.2, 0.0, 1.0), (0.0, 2.0, 0.5)])
def test_interval_holds_the_true_gain(law: tuple[float, float, float]) -> None:
    found = [forecasts(law, sd=0.01, test_rows=500, seed=seed) for seed in range(60)]
    assert np.mean([low <= true <= high for true, low, high in found]) >= 0.9
    if law[1] == 0:  # no gain is claimed where there is none
        assert np.mean([low > 0 for _, low, _ in found]) <= 0.05


def test_one_training_per_share_is_refused() -> None:
    rows = np.array([50.0, 100.0, 200.0])
    with pytest.raises(ValueError, match="needs 2 trainings with each number of rows"):
        forecast_gains(rows, rows**-0.5, rows[None, :] ** -0.5, (2.0,), np.random.default_rng(0))
    with pytest.raises(ValueError, match="3 different numbers of rows"):
        fit_power_law(rows[:2], rows[:2] ** -0.5)
