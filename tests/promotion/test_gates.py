"""Results of the gates."""

import math

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.promotion.gates import Gates, check, compare

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)
GOOD = {"best_val_accuracy": 0.85, "best_val_loss": 0.4, "overfit_gap_at_best": 0.1}


def passed(
    metrics: dict[str, float], metric: Metric, baseline: dict[str, float] | None, gates: Gates
) -> dict[str, bool | None]:
    return {item.gate: item.passed for item in check(metrics, metric, baseline, gates)}


def test_a_good_winner_passes_all() -> None:
    assert passed(GOOD, ACCURACY, {"val/accuracy": 0.8}, Gates()) == {
        "finite": True, "baseline": True, "overfitting": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "baseline", "min_gain", "expected"),
    [
        (ACCURACY, {"val/accuracy": 0.85}, 0.0, False),
        (ACCURACY, {"val/accuracy": 0.9}, 0.0, False),
        (ACCURACY, {"val/accuracy": 0.84}, 0.02, False),
        (ACCURACY, {"val/accuracy": 0.8}, 0.02, True),
        (LOSS, {"val/loss": 0.5}, 0.0, True),
        (LOSS, {"val/loss": 0.3}, 0.0, False),
        (LOSS, {"val/accuracy": 0.3}, 0.0, None),
        (LOSS, None, 0.0, None),
    ],
)
def test_baseline_gate_follows_metric_direction(
    metric: Metric, baseline: dict[str, float] | None, min_gain: float, expected: bool | None
) -> None:
    assert passed(GOOD, metric, baseline, Gates(min_gain=min_gain))["baseline"] is expected


def test_large_gap_and_nan_fail() -> None:
    results = passed(
        GOOD | {"overfit_gap_at_best": 0.6, "shift/tweets/loss": math.nan}, ACCURACY, None, Gates(max_gap=0.5)
    )
    assert results == {"finite": False, "baseline": None, "overfitting": False}


def test_gates_can_be_switched_off() -> None:
    assert set(passed(GOOD, ACCURACY, None, Gates(max_gap=None, min_gain=None))) == {"finite"}


@pytest.mark.parametrize(
    ("value", "other", "expected"),
    [(0.8, 0.9, (False, True)), (0.9, 0.9, (True, False)), (0.9, 0.8, (True, False)), (None, 0.8, (None, False))],
)
def test_comparison_refuses_worse_value(value: float | None, other: float, expected: tuple[bool | None, bool]) -> None:
    results = compare("best trial", ACCURACY, value, other, "trial 2")
    assert (results.passed, results.refuses) == expected


def test_only_a_value_below_the_baseline_refuses() -> None:
    refuses = [
        next(
            item.refuses for item in check(GOOD, ACCURACY, {"val/accuracy": value}, Gates()) if item.gate == "baseline"
        )
        for value in (0.8, 0.85, 0.9)
    ]
    assert refuses == [False, False, True]
