"""Forecasts for more training rows: exact curves, coverage, and no gain and no number of rows where there is none."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.statistics.power_law import Forecast, fit_power_law, forecast

Array = NDArray[np.float64]
ROWS = np.repeat([50.0, 100.0, 200.0, 400.0], 3)


def test_exact_curve_is_found() -> None:
    law = fit_power_law(ROWS, 0.1 + 2 * ROWS**-0.5)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((0.1, 2, 0.5), rel=1e-3)
    assert law.error(800) == pytest.approx(0.1 + 2 * 800**-0.5, rel=1e-4)


def test_floor_is_never_negative() -> None:
    law = fit_power_law(ROWS, 0.5 - 0.05 * np.log(ROWS / 50))
    assert law.floor >= 0


def simulated(law: tuple[float, float, float], *, sd: float, test_rows: int, seed: int) -> Forecast:
    """Return the forecast of simulated trainings with this true law."""
    floor, scale, exponent = law
    generator = np.random.default_rng(seed)
    errors_t = floor + scale * ROWS**-exponent + sd * generator.standard_normal(len(ROWS))
    ranks_n = generator.uniform(size=test_rows)  # a row is wrong if its rank is below the error: rows are common
    wrong_tn = ranks_n[None, :] < errors_t[:, None]
    counts_dn = generator.multinomial(test_rows, np.full(test_rows, 1 / test_rows), size=400)
    return forecast(ROWS, wrong_tn.mean(axis=1), counts_dn @ wrong_tn.T / test_rows, generator)


LAWS = [(0.1, 2.0, 0.5), (0.05, 1.0, 0.25), (0.2, 0.0, 1.0), (0.0, 2.0, 0.5)]


@pytest.mark.parametrize("law", LAWS)
def test_intervals_hold_true_gain_and_rows(law: tuple[float, float, float]) -> None:
    _, scale, exponent = law
    found = [simulated(law, sd=0.01, test_rows=500, seed=seed) for seed in range(60)]
    gains = [each.gain(2.0) for each in found]
    true = scale * (400**-exponent - 800**-exponent)
    assert np.mean([each.low <= true <= each.high for each in gains]) >= 0.9
    needed = [each.rows_for_gain(0.01) for each in found]
    fall = scale * 400**-exponent
    if scale == 0:  # no gain is claimed where there is none, and no number of rows
        assert np.mean([each.low > 0 for each in gains]) <= 0.05
        assert np.mean([each.high is None for each in needed]) >= 0.95
        return
    rows = 400 * (1 - 0.01 / fall) ** (-1 / exponent)
    held = [each.low is not None and each.low <= rows <= (each.high or math.inf) for each in needed]
    assert np.mean(held) >= 0.9
    assert np.mean([each.high is not None for each in needed]) >= 0.7  # most curves say how many


def test_rows_of_exact_curve() -> None:
    errors_t = 0.1 + 2 * ROWS**-0.5
    found = forecast(ROWS, errors_t, np.tile(errors_t, (50, 1)), np.random.default_rng(0))
    needed = found.rows_for_gain(0.05)  # the whole fall to endless rows is 0.1
    assert needed.value == pytest.approx(1600, rel=1e-3)
    assert (needed.low, needed.high) == pytest.approx((1600, 1600), rel=0.1)  # draws choose an exponent from a grid
    endless = found.rows_for_gain(0.11)
    assert (endless.value, endless.high) == (None, None)


def test_one_training_per_share_is_refused() -> None:
    rows = np.array([50.0, 100.0, 200.0])
    with pytest.raises(ValueError, match="needs 2 trainings with each number of rows"):
        forecast(rows, rows**-0.5, rows[None, :] ** -0.5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="3 different numbers of rows"):
        fit_power_law(rows[:2], rows[:2] ** -0.5)
