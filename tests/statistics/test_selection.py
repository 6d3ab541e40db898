"""Corrections for the winner's curse against published values, and coverage in simulation."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.metric import Direction
from orchestrator.statistics.intervals import wilson_interval
from orchestrator.statistics.selection import (
    covariance_with_winner,
    expected_optimism,
    scaled_variance,
    share_variance,
    shrink,
    winner_score,
)

BATTING = [0.400, 0.378, 0.356, 0.333, 0.311, 0.311, 0.289, 0.267, 0.244, 0.244]
BATTING += [0.222] * 5 + [0.200, 0.178, 0.156]
VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def own(values: np.ndarray, variance: float) -> np.ndarray:
    """Return the covariance with the winner of values with independent noise."""
    return np.where(np.arange(len(values)) == np.argmax(values), variance, 0.0)


def test_shrinkage_equals_published_values() -> None:
    # Efron and Morris 1977, "Stein's paradox in statistics", Scientific American 236: factor 0.212, Clemente 0.294
    shrunk = shrink(np.array(BATTING), 0.265 * 0.735 / 45)
    assert 1 - shrunk.factor == pytest.approx(0.212, abs=0.005)
    assert shrunk.values[0] == pytest.approx(0.294, abs=0.002)
    assert shrunk.values[-1] == pytest.approx(0.242, abs=0.002)


@given(VALUES, st.floats(0, 0.1))
def test_shrinkage_keeps_order_and_mean(values: list[float], variance: float) -> None:
    shrunk = shrink(np.array(values), variance)
    assert np.mean(shrunk.values) == pytest.approx(np.mean(values), abs=1e-9)
    assert np.ptp(shrunk.values) <= np.ptp(shrunk.spread_values) + 1e-9 <= np.ptp(values) + 2e-9
    assert 0 <= shrunk.factor <= 1


def test_three_trials_are_not_shrunk() -> None:
    assert shrink(np.array([0.7, 0.8, 0.9]), 0.1).values == (0.7, 0.8, 0.9)


def test_optimism_of_equal_trials_equals_normal_maximum() -> None:
    # the expected maximum of 24 standard normal values is 1.948 (Harter 1961, Biometrika 48)
    optimism = expected_optimism(np.full(24, 0.8), 0.01**2, np.random.default_rng(0), draws=40_000)
    assert optimism == pytest.approx(0.01 * 1.948 * 1.0, rel=0.02)


def test_clear_winner_has_no_optimism() -> None:
    values = np.array([0.9, *[0.5] * 4, *[0.1] * 4])
    assert expected_optimism(values, 0.01**2, np.random.default_rng(0)) < 0.001
    mirrored = expected_optimism(-values, 0.01**2, np.random.default_rng(0), Direction.MINIMIZE)
    assert mirrored < 0.001


def test_clear_winner_keeps_the_naive_interval() -> None:
    values = np.array([0.9, 0.5, 0.4])
    score = winner_score(values, own(values, 0.01**2))
    assert score.corrected.value == pytest.approx(score.raw, abs=1e-4)
    assert score.corrected.low == pytest.approx(score.naive.low, abs=0.0006)
    assert score.corrected.high == pytest.approx(score.naive.high, abs=0.0006)


def test_independent_score_is_not_corrected() -> None:
    values = np.array([0.9, 0.899, 0.4])
    score = winner_score(values, np.zeros(3), score=0.87, variance=0.01**2)
    assert score.corrected == score.naive
    assert score.naive.high == pytest.approx(0.87 + 1.959964 * 0.01)


def test_variance_of_a_share_equals_wilson() -> None:
    # with a far second the correction is Wilson's interval, at the hybrid's slightly higher level
    score = winner_score(np.array([0.95, 0.5]), np.array([1e-6, 0.0]), variance=share_variance(100, 0.0))
    exact = wilson_interval(95, 100)
    assert [score.corrected.low, score.corrected.high] == pytest.approx([exact.low, exact.high], abs=0.002)
    assert share_variance(100, 0.1**2)(1.0) == pytest.approx(0.01 + 0.01 * 0.99 / 100)
    assert scaled_variance(0.9, 0.01, 100, 0.02)(0.5) == pytest.approx(0.02 + 0.01 * 0.25 / 0.09)


def test_score_without_variance_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        winner_score(np.array([0.9, 0.8]), np.zeros(2))


@given(VALUES, st.floats(0.001, 0.1), st.floats(0, 0.9))
def test_interval_is_at_most_simultaneous(values: list[float], sd: float, shared: float) -> None:
    array = np.array(values)
    covariance = own(array, (1 - shared) * sd**2) + shared * sd**2
    score = winner_score(array, covariance)
    widest = 4.2 * sd  # Sidak's critical value of 30 trials at level 0.995 is 3.77
    assert score.raw - widest <= score.corrected.low <= score.corrected.value <= score.corrected.high
    assert score.corrected.high <= score.raw + widest
    assert score.corrected.value <= score.raw + 0.05 * sd


@given(VALUES, st.floats(-3, 3), st.floats(0.5, 2))
def test_interval_follows_location_and_scale(values: list[float], shift: float, scale: float) -> None:
    array = np.array(values)
    plain = winner_score(array, own(array, 0.03**2)).corrected
    moved_array = shift + scale * array
    if np.argmax(moved_array) != np.argmax(array):
        return
    moved = winner_score(moved_array, own(array, (scale * 0.03) ** 2)).corrected
    expected = [shift + scale * each for each in (plain.low, plain.value, plain.high)]
    assert [moved.low, moved.value, moved.high] == pytest.approx(expected, abs=1e-5)


@given(VALUES)
def test_losses_mirror_gains(values: list[float]) -> None:
    array = np.array(values)
    up = winner_score(array, own(array, 0.03**2))
    down = winner_score(-array, own(array, 0.03**2), direction=Direction.MINIMIZE)
    limits = dataclasses.astuple(down.corrected)[:3]
    assert [-each for each in limits] == pytest.approx([up.corrected.value, up.corrected.high, up.corrected.low])


@pytest.mark.parametrize("truths", [[0.7] * 20, [0.75, *[0.7] * 19], [0.8, 0.79, *[0.5] * 8]])
def test_corrected_interval_covers_the_winner(truths: list[float]) -> None:
    draw = np.random.default_rng(0)
    mean, sd, common = np.array(truths), 0.02, 0.015
    covered = []
    for _ in range(1500):
        values = mean + sd * draw.standard_normal(len(mean)) + common * draw.standard_normal()
        score = winner_score(values, own(values, sd**2) + common**2)
        truth = mean[np.argmax(values)]
        covered.append((score.corrected.low <= truth <= score.corrected.high, score.corrected.value > truth))
    share, above = np.mean(covered, axis=0)
    assert 0.94 <= share <= 0.97
    assert above == pytest.approx(0.5, abs=0.04)


def test_chosen_seed_is_corrected_on_new_rows() -> None:
    draw = np.random.default_rng(0)
    seed_sd, row_sd = 0.03, 0.015
    naive, corrected = [], []
    for _ in range(1500):
        adapters = 0.8 + seed_sd * draw.standard_normal(20)
        validation = adapters + row_sd * draw.standard_normal(20)
        winner = int(np.argmax(validation))
        test = adapters[winner] + row_sd * draw.standard_normal()
        score = winner_score(validation, own(validation, seed_sd**2), score=test, variance=seed_sd**2 + row_sd**2)
        naive.append(score.naive.low <= 0.8 <= score.naive.high)
        corrected.append(score.corrected.low <= 0.8 <= score.corrected.high)
    assert np.mean(naive) < 0.8
    assert 0.94 <= np.mean(corrected) <= 0.97


def test_corrected_interval_covers_coarse_accuracies() -> None:
    draw = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        correct = draw.random((20, 200)) < 0.8
        accuracies = correct.mean(axis=1)
        covariance = covariance_with_winner(correct.astype(float), int(np.argmax(accuracies)), 0.0)
        score = winner_score(accuracies, covariance, variance=share_variance(200, 0.0), step=1 / 200)
        covered.append(score.corrected.low <= 0.8 <= score.corrected.high)
    assert 0.935 <= np.mean(covered) <= 0.975


@pytest.mark.parametrize(("best", "second"), [(50, 49), (49, 48), (48, 48), (1, 1), (2, 1)])
def test_winners_near_0_and_1_have_an_interval(best: int, second: int) -> None:
    rows = 50
    choice, variance = np.array([best, second, second]) / rows, share_variance(rows, 1e-4)
    covariance = variance(best / rows) * np.array([1.0, 0.2, 0.2])
    found = winner_score(choice, covariance, variance=variance, step=1 / rows).corrected
    assert found.low < found.value < found.high
    assert found.low < best / rows


def test_equal_accuracies_keep_the_raw_score() -> None:
    accuracies = np.array([0.8, 0.8, 0.7])
    score = winner_score(accuracies, own(accuracies, 0.02**2), step=1 / 200)
    assert score.corrected.low < score.raw < score.corrected.high


def test_covariance_counts_common_rows_and_own_seed() -> None:
    draw = np.random.default_rng(0)
    rows = (draw.random((4, 300)) < 0.3 + 0.6 * draw.random(300)).astype(float)
    covariance = covariance_with_winner(rows, 2, 0.01**2)
    expected = np.cov(rows)[2] / 300
    expected[2] += 0.01**2
    assert covariance == pytest.approx(expected)
    assert math.sqrt(covariance[2]) > 0.01
