"""Calibration errors and temperatures against scikit-learn and values by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from orchestrator.statistics.calibration import (
    calibration_interval,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
    scaled_probabilities,
    top_label,
)


def logits(rows: int = 4000, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and references drawn from their softmax; the logits are then multiplied."""
    draw = np.random.default_rng(0)
    true = 1.5 * draw.standard_normal((rows, 3))
    references = np.array([draw.choice(3, p=each) for each in softmax(true, axis=1)])
    return sharpness * true, references


def test_error_by_hand() -> None:
    confidences, correct = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, False, True, True])
    # bins of width 0.1: |0.5 - 0.95| and |1 - 0.55|, half of the rows each
    absolute = expected_calibration_error(confidences, correct, bins=10)
    squared = expected_calibration_error(np.array([0.95, 0.55]), np.array([True, True]), bins=10, norm=2)
    assert absolute.value == pytest.approx(0.45)
    assert squared.value == pytest.approx(np.sqrt((0.05**2 + 0.45**2) / 2))
    assert (absolute.name, squared.name) == ("ece_10_l1", "ece_10_l2")


def test_bins_equal_scikit_learn() -> None:
    raw, references = logits(sharpness=2)
    confidences, correct = top_label(softmax(raw, axis=1), references)
    ours = reliability_bins(confidences, correct, bins=10)
    accuracies, means = calibration_curve(correct, confidences, n_bins=10)
    assert [each.accuracy.value for each in ours] == pytest.approx(list(accuracies))
    assert [each.confidence for each in ours] == pytest.approx(list(means))
    assert sum(each.rows for each in ours) == 4000
    assert all(each.low <= each.confidence <= each.high for each in ours)


def test_certain_rows_fall_in_the_last_bin() -> None:
    (only,) = reliability_bins(np.ones(3), np.array([True, True, False]))
    assert (only.high, only.rows, only.confidence) == (1.0, 3, 1.0)


def test_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="norm 3"):
        expected_calibration_error(np.ones(3), np.ones(3, dtype=bool), norm=3)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_error_is_bounded(rows: list[tuple[float, bool]], bins: int) -> None:
    confidences, correct = np.array([each[0] for each in rows]), np.array([each[1] for each in rows])
    absolute = expected_calibration_error(confidences, correct, bins=bins).value
    squared = expected_calibration_error(confidences, correct, bins=bins, norm=2).value
    assert 0 <= absolute <= squared + 1e-12 <= 1 + 1e-9


def test_temperature_is_recovered() -> None:
    raw, references = logits(sharpness=3)
    fitted = fit_temperature(raw, references)
    assert fitted.value == pytest.approx(3, rel=0.08)
    assert fitted.loss_after < fitted.loss_before == pytest.approx(log_loss(references, softmax(raw, axis=1)))
    before, after = (
        expected_calibration_error(*top_label(each, references)).value
        for each in (softmax(raw, axis=1), scaled_probabilities(raw, fitted.value))
    )
    assert after < 0.03 < before


def test_temperature_is_a_minimum() -> None:
    raw, references = logits(rows=300, sharpness=0.4)
    fitted = fit_temperature(raw, references)
    losses = [log_loss(references, scaled_probabilities(raw, fitted.value * step)) for step in (0.98, 1, 1.02)]
    assert min(losses) == losses[1] == pytest.approx(fitted.loss_after)


def test_perfect_rows_get_a_low_temperature() -> None:
    fitted = fit_temperature(np.eye(3) * 5, np.arange(3))
    assert fitted.value < 0.2
    assert fitted.loss_after <= fitted.loss_before


def test_interval_covers_the_error() -> None:
    draw, hits = np.random.default_rng(0), 0
    for _ in range(200):  # two groups of certainty: the error is 0.6 * 0.1 + 0.4 * 0.15 = 0.12
        sure_n = draw.random(400) < 0.6
        confidences_n = np.where(sure_n, 0.9, 0.7)
        correct_n = draw.random(400) < np.where(sure_n, 0.8, 0.55)
        found = calibration_interval(confidences_n, correct_n, draw, draws=300)
        assert found.low <= found.value <= found.high
        hits += found.low <= 0.12 <= found.high
    assert 0.91 <= hits / 200 <= 0.985


def test_interval_of_error_begins_at_zero() -> None:
    found = calibration_interval(np.full(50, 0.8), np.arange(50) % 5 > 0, np.random.default_rng(0), draws=200)
    assert (found.value, found.low) == pytest.approx((0.0, 0.0), abs=1e-9)
