"""Noise of rows and seeds against the analysis of variance, and coverage in simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.statistics.intervals import Interval, mean_interval, wilson_interval
from orchestrator.statistics.noise import (
    SeedSource,
    accuracy_score,
    class_score,
    mean_score,
    measured_noise,
    noise_of_replicates,
    pooled_noise,
    prior_noise,
    row_covariance,
    with_seed_noise,
)
from orchestrator.statistics.row_metrics import accuracy, macro_f1

PRIOR = prior_noise(0.01, "recorded tables", degrees_of_freedom=8)


def outcomes(draw: np.random.Generator, seeds: int, rows: int, seed_sd: float, truth: float = 0.8) -> np.ndarray:
    """Return right and wrong rows by seed; rows differ in difficulty, and each seed has a quality of its own."""
    quality = truth + seed_sd * draw.standard_normal((seeds, 1))
    hard = draw.random(rows) < 0.5
    return draw.random((seeds, rows)) < quality + np.where(hard, -0.15, 0.15)


def test_seed_variance_equals_analysis_of_variance() -> None:
    values = outcomes(np.random.default_rng(0), 4, 50, 0.1).astype(float)
    seeds, rows = values.shape
    by_seed, by_row = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    ms_seeds = rows * float(np.var(by_seed, ddof=1))
    ms_residual = float(np.sum((values - by_seed - by_row + values.mean()) ** 2)) / ((seeds - 1) * (rows - 1))
    noise = measured_noise(values.mean(axis=1), row_covariance(values))
    assert noise.variance == pytest.approx((ms_seeds - ms_residual) / rows)
    assert (noise.degrees_of_freedom, noise.source) == (3, SeedSource.MEASURED)


def test_seed_variance_is_unbiased() -> None:
    draw = np.random.default_rng(0)
    found = [
        measured_noise(values.mean(axis=1), row_covariance(values)).variance
        for values in (outcomes(draw, 3, 400, 0.03).astype(float) for _ in range(1500))
    ]
    assert np.mean(found) == pytest.approx(0.03**2, rel=0.1)


def test_one_seed_needs_a_prior() -> None:
    values = outcomes(np.random.default_rng(0), 1, 50, 0.0)
    with pytest.raises(ValueError, match="give a prior"):
        accuracy_score(values)
    score = accuracy_score(values, PRIOR)
    assert (score.seed_noise, score.seeds) == (PRIOR, 1)
    assert score.rows == wilson_interval(int(values.sum()), 50)


def test_prior_and_seeds_are_pooled() -> None:
    measured = measured_noise(np.array([0.8, 0.82, 0.84]), np.zeros((3, 3)))
    pooled = pooled_noise([PRIOR, measured])
    assert pooled.variance == pytest.approx((8 * 0.0001 + 2 * 0.0004) / 10)
    assert (pooled.degrees_of_freedom, pooled.source, pooled.origin) == (10, SeedSource.POOLED, "recorded tables")
    assert pooled_noise([measured, measured]).source is SeedSource.MEASURED
    known = prior_noise(0.01, "known")
    assert pooled_noise([measured, known]) == known


def test_replicates_give_a_prior() -> None:
    draw = np.random.default_rng(0)
    groups = [outcomes(draw, 5, 400, 0.03, truth).astype(float) for truth in (0.6, 0.7, 0.8) for _ in range(20)]
    prior = noise_of_replicates(groups, "a table")
    assert prior.sd == pytest.approx(0.03, rel=0.1)
    assert (prior.degrees_of_freedom, prior.source, prior.origin) == (240, SeedSource.PRIOR, "a table")
    with pytest.raises(ValueError, match="at least 2 seeds"):
        noise_of_replicates([], "a table")


def test_negative_variance_counts_as_zero() -> None:
    noise = measured_noise(np.array([0.8, 0.8]), np.diag([0.01, 0.01]))
    assert noise.variance < 0
    assert noise.sd == 0
    interval = Interval(value=0.8, low=0.75, high=0.84)
    total = with_seed_noise(interval, noise, 2).total
    assert [total.low, total.high] == pytest.approx([0.75, 0.84])


@given(st.floats(0, 0.1), st.integers(1, 5))
def test_seed_noise_widens_the_interval(sd: float, seeds: int) -> None:
    rows = wilson_interval(70, 100)
    total = with_seed_noise(rows, prior_noise(sd, "test"), seeds).total
    assert total.low <= rows.low <= total.value <= rows.high <= total.high
    assert total.value - total.low == pytest.approx(math.hypot(rows.value - rows.low, 1.959964 * sd / math.sqrt(seeds)))


def test_losses_are_weighed_by_units() -> None:
    draw = np.random.default_rng(0)
    units = draw.integers(1, 9, 200).astype(float)
    values = units * (1 + 0.1 * draw.standard_normal((3, 200)))
    score = mean_score(values, units_n=units)
    assert score.total.value == pytest.approx(values.sum() / units.sum() / 3)
    assert score.rows == mean_interval(values.mean(axis=0), units)


def test_bootstrap_agrees_with_analysis_of_variance() -> None:
    correct = outcomes(np.random.default_rng(1), 3, 400, 0.05)
    predictions, references = correct.astype(np.int64), np.ones(400, dtype=np.int64)
    drawn = class_score(predictions, references, accuracy, np.random.default_rng(2), draws=8000)
    exact = accuracy_score(correct)
    assert drawn.total.value == pytest.approx(exact.total.value)
    assert drawn.seed_noise.variance == pytest.approx(exact.seed_noise.variance, rel=0.1)
    assert drawn.total.low == pytest.approx(exact.total.low, abs=0.01)


def test_macro_f1_of_one_seed_takes_the_prior() -> None:
    draw = np.random.default_rng(0)
    references = draw.integers(3, size=200)
    predictions = np.where(draw.random((1, 200)) < 0.8, references, 0)
    score = class_score(predictions, references, macro_f1, draw, PRIOR, draws=500)
    assert score.seed_noise is PRIOR
    assert score.total.low < score.rows.low < score.rows.value < score.rows.high < score.total.high


@pytest.mark.parametrize("seeds", [1, 3])
def test_interval_covers_the_configuration(seeds: int) -> None:
    draw = np.random.default_rng(seeds)
    prior = prior_noise(0.03, "known")
    scores = [accuracy_score(outcomes(draw, seeds, 500, 0.03), prior) for _ in range(800)]
    assert 0.93 <= np.mean([one.total.low <= 0.8 <= one.total.high for one in scores]) <= 0.97
    assert np.mean([one.rows.low <= 0.8 <= one.rows.high for one in scores]) < 0.85
