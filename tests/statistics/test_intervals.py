"""Intervals against published values, SciPy and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from orchestrator.statistics.intervals import (
    Interval,
    difference_interval,
    mean_interval,
    rows_for_bound,
    wilson_interval,
)
from orchestrator.statistics.resampling import clustered_draws, jackknife_values, percentile_interval
from orchestrator.statistics.row_metrics import accuracy, bootstrap_interval, macro_f1, macro_f1_interval

SHARES = st.integers(1, 5000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows)))
LEVELS = st.floats(0.5, 0.999)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("successes", "rows", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_equals_published_values(successes: int, rows: int, low: float, high: float) -> None:
    # Newcombe 1998, Statistics in Medicine 17, Table I, method 3
    interval = wilson_interval(successes, rows)
    assert [interval.low, interval.high] == pytest.approx([low, high], abs=5e-5)


@given(SHARES, LEVELS)
def test_wilson_interval_equals_scipy(share: tuple[int, int], level: float) -> None:
    successes, rows = share
    ours, theirs = (
        wilson_interval(successes, rows, level),
        stats.binomtest(successes, rows).proportion_ci(level, "wilson"),
    )
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=1e-9)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


@given(SHARES)
def test_wilson_interval_shrinks_with_rows(share: tuple[int, int]) -> None:
    successes, rows = share
    few, many = wilson_interval(successes, rows), wilson_interval(4 * successes, 4 * rows)
    assert many.high - many.low < few.high - few.low


@given(SHARES)
def test_wilson_interval_mirrors_failures(share: tuple[int, int]) -> None:
    successes, rows = share
    right, wrong = wilson_interval(successes, rows), wilson_interval(rows - successes, rows)
    assert [right.low, right.high] == pytest.approx([1 - wrong.high, 1 - wrong.low])


def test_share_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="0 of 0"):
        wilson_interval(0, 0)
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        mean_interval(np.array([1.0]))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50), LEVELS)
def test_mean_interval_equals_scipy(values: list[float], level: float) -> None:
    ours = mean_interval(np.array(values), level=level)
    assert ours.low <= ours.value <= ours.high
    if np.std(values) > 1e-6:
        theirs = stats.ttest_1samp(values, 0).confidence_interval(level)
        assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=1e-6)


def test_mean_interval_weighs_rows_by_units() -> None:
    draw = generator()
    units = draw.integers(1, 40, 400).astype(float)
    losses = units * (2 + 0.3 * draw.standard_normal(400))
    interval = mean_interval(losses, units)
    resampled = [losses[at].sum() / units[at].sum() for at in draw.integers(400, size=(4000, 400))]
    assert interval.value == pytest.approx(losses.sum() / units.sum())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.std(resampled), rel=0.05)


def test_macro_f1_equals_scikit_learn() -> None:
    draw = generator()
    predictions, references = draw.integers(5, size=60), draw.integers(4, size=60)
    counts = draw.multinomial(60, np.full(60, 1 / 60), size=20)
    ours = macro_f1(counts, predictions, references)
    for values, value in zip(counts, ours, strict=True):
        rows = np.repeat(np.arange(60), values)
        assert value == pytest.approx(f1_score(references[rows], predictions[rows], average="macro", zero_division=0))


def test_macro_f1_interval_equals_scipy() -> None:
    draw = generator()
    references = draw.choice(3, size=150, p=[0.7, 0.2, 0.1])
    predictions = np.where(draw.random(150) < 0.75, references, draw.integers(3, size=150))
    ours = macro_f1_interval(predictions, references, generator(1), draws=20_000)

    def f1(first: np.ndarray, second: np.ndarray) -> float:
        return float(macro_f1(np.ones((1, len(first)), dtype=np.int64), first, second)[0])

    theirs = stats.bootstrap(
        (predictions, references), f1, paired=True, vectorized=False, n_resamples=4000, rng=generator(2)
    ).confidence_interval
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.012)
    assert ours.value == pytest.approx(f1_score(references, predictions, average="macro"))


@given(st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_bootstrap_interval_holds_its_value(rows: int, seed: int) -> None:
    values = generator(seed).exponential(size=rows)
    interval = bootstrap_interval(lambda counts: counts @ values / rows, rows, generator(seed), draws=200)
    assert interval.low <= interval.value <= interval.high
    assert interval.value == pytest.approx(values.mean())


def test_accuracy_interval_resembles_wilson() -> None:
    predictions, references = np.zeros(1000, dtype=np.int64), (np.arange(1000) >= 870).astype(np.int64)
    ours = bootstrap_interval(lambda counts: accuracy(counts, predictions, references), 1000, generator())
    exact = wilson_interval(870, 1000)
    assert [ours.low, ours.high] == pytest.approx([exact.low, exact.high], abs=0.003)


def test_perfect_predictions_have_no_width() -> None:
    same = np.arange(6) % 3
    interval = macro_f1_interval(same, same, generator())
    assert (interval.low, interval.value, interval.high) == (1.0, 1.0, 1.0)


def test_clusters_widen_the_interval() -> None:
    values = np.repeat(generator().standard_normal((12, 1)), 40, axis=1)  # members of a cluster are equal
    draws = clustered_draws(values, lambda each: each.mean(axis=(-2, -1)), generator(1), 4000)
    interval = percentile_interval(float(values.mean()), draws)
    assert np.std(draws) == pytest.approx(values[:, 0].std() / math.sqrt(12), rel=0.05)
    assert interval.low < interval.value < interval.high


def test_percentile_interval_accepts_infinity() -> None:
    interval = percentile_interval(1.0, np.array([1.0] * 90 + [math.inf] * 10))
    assert (interval.low, interval.high) == (1.0, math.inf)


def test_bootstrap_covers_macro_f1() -> None:
    matrix = np.array([[0.45, 0.05, 0.02], [0.04, 0.21, 0.03], [0.03, 0.05, 0.12]])  # reference by prediction
    classes = np.arange(3)
    predictions, references = np.tile(classes, 3), np.repeat(classes, 3)
    truth = float(macro_f1((matrix.reshape(1, 9) * 1e6).astype(np.int64), predictions, references)[0])
    draw = generator()
    covered = 0
    for _ in range(400):
        rows = draw.choice(9, size=300, p=matrix.ravel())
        interval = macro_f1_interval(predictions[rows], references[rows], draw, draws=1000)
        covered += interval.low <= truth <= interval.high
    assert 0.92 <= covered / 400 <= 0.98


def test_difference_of_shares_equals_newcombe() -> None:
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 and 10/10 - 0/10
    for pair, limits in (((56, 70, 48, 80), (0.0524, 0.3339)), ((10, 10, 0, 10), (0.6075, 1.0))):
        found = difference_interval(wilson_interval(*pair[:2]), wilson_interval(*pair[2:]))
        assert (found.low, found.high) == pytest.approx(limits, abs=1e-4)


def test_difference_covers_the_drop() -> None:
    draw = np.random.default_rng(0)
    hits = 0
    for ours, theirs in zip(draw.binomial(300, 0.85, 2000), draw.binomial(150, 0.75, 2000), strict=True):
        found = difference_interval(wilson_interval(int(ours), 300), wilson_interval(int(theirs), 150))
        hits += found.low <= 0.1 <= found.high
    assert 0.94 <= hits / 2000 <= 0.965


def test_rows_for_bound_follow_the_z_test() -> None:
    interval = Interval(value=0.2, low=0.2 - 0.195996, high=0.2 + 0.195996)
    # 100 rows have the standard error 0.1, so n = 100 * (0.1 * (1.960 + 0.8416) / 0.05)^2
    assert rows_for_bound(interval, 100, 0.15) == pytest.approx(3_139.6, abs=1.5)
    assert rows_for_bound(interval, 100, 0.15, seed_sd=0.0179) is None
    assert rows_for_bound(interval, 100, 0.15, seed_sd=0.017) is not None


def test_jackknife_of_a_mean_returns_its_values() -> None:
    values_n = np.array([0.5, 2.0, 3.5, 9.0])
    found = jackknife_values(lambda places: float(values_n[places].mean()), 4)
    np.testing.assert_allclose(found, values_n)
