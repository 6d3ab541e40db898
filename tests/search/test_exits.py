"""Divergence exit and overfitting exit on hand-made curves."""

import math

import pytest

from orchestrator.core.trials.trial import Report
from orchestrator.search.stopping.exits import diverged, overfitting


def curve(*losses: tuple[float, float]) -> tuple[Report, ...]:
    """Reports from (validation loss, training loss) pairs."""
    return tuple(
        Report(
            trial=0,
            nominal_samples=(i + 1) * 100,
            metrics={"val/loss": validation, "train/loss": train},
            checkpoint=None,
            started_at=0.0,
            ended_at=1.0,
        )
        for i, (validation, train) in enumerate(losses)
    )


@pytest.mark.parametrize("name", ["val/loss", "train/loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nonfinite_loss_is_divergence(name: str, value: float) -> None:
    metrics = {"val/loss": 0.5, "train/loss": 0.5, name: value}
    assert diverged(metrics, ()) == f"{name} is {value}"


def test_other_metrics_may_be_nan() -> None:
    assert diverged({"val/loss": 0.5, "train/loss": 0.5, "val/macro_f1": math.nan}, ()) is None


def test_two_exploding_losses_are_divergence() -> None:
    history = curve((0.5, 0.4), (0.6, 0.3))
    reason = diverged({"val/loss": 9.0, "train/loss": 8.0}, history)
    assert reason == "the loss exploded: val/loss 9 after 0.5 and train/loss 8 after 0.3"


@pytest.mark.parametrize(
    ("validation", "train"),
    [
        (9.0, 0.1),  # an overfitting classifier with overconfident mistakes
        (2.5, 2.2),  # 3 x 0.5 + 1 is not exceeded
        (0.4, 0.3),
    ],
)
def test_moderate_rise_is_no_divergence(validation: float, train: float) -> None:
    assert diverged({"val/loss": validation, "train/loss": train}, curve((0.5, 0.4))) is None


def test_small_losses_are_no_divergence() -> None:
    assert diverged({"val/loss": 0.05, "train/loss": 0.05}, curve((0.01, 0.01))) is None


def test_first_report_is_no_divergence() -> None:
    first = curve((40.0, 40.0))
    assert diverged(first[0].metrics, ()) is None
    assert diverged(first[0].metrics, first) is None


def test_missing_training_loss_uses_validation_only() -> None:
    assert diverged({"val/loss": 9.0}, curve((0.5, 0.4))) is not None
    assert diverged({}, curve((0.5, 0.4))) is None


def test_rising_validation_and_falling_training_is_overfitting() -> None:
    history = curve((0.5, 0.5), (0.4, 0.4), (0.45, 0.3), (0.55, 0.2))
    assert overfitting(history, 2) == (
        "validation loss rose 2 reports in a row, 0.4 to 0.55, while training loss fell from 0.4 to 0.2"
    )
    assert overfitting(history, 3) is None
    assert overfitting(history[:3], 2) is None
    assert overfitting(history[:3], 1) is not None


@pytest.mark.parametrize(
    "losses",
    [
        [(0.4, 0.4), (0.5, 0.5), (0.6, 0.6)],  # both rise: unstable, not overfitting
        [(0.4, 0.4), (0.5, 0.3), (0.5, 0.2)],  # a plateau is no rise
        [(0.5, 0.4), (0.6, 0.3), (0.55, 0.2)],
        [(0.4, 0.4), (math.nan, 0.3), (0.6, 0.2)],
    ],
)
def test_other_curves_are_not_overfitting(losses: list[tuple[float, float]]) -> None:
    assert overfitting(curve(*losses), 2) is None


def test_training_loss_may_fluctuate() -> None:
    assert overfitting(curve((0.4, 0.010), (0.5, 0.004), (0.6, 0.005)), 2) is not None


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="patience >= 1 must hold, got 0"):
        overfitting(curve((0.4, 0.4)), 0)
