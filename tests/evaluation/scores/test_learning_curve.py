"""The gain for which the learning curve gives a number of rows."""

import pytest

from orchestrator.evaluation.scores.learning_curve import wanted_gain


@pytest.mark.parametrize(
    ("name", "error", "gain"),
    [
        ("accuracy", 0.3, 0.01),
        ("macro_f1", 0.02, 0.01),
        ("accuracy", 0.0199, 0.001),  # one point is more than half of the error
        ("macro_f1", 0.004, 0.0002),
        ("loss", 0.643, 0.03),
        ("loss", 4.0, 0.2),
        ("loss", 0.001, 0.00005),
        ("accuracy", 0.0, 0.0),
    ],
)
def test_wanted_gain_is_a_point_or_a_share_of_the_error(name: str, error: float, gain: float) -> None:
    assert wanted_gain(name, error) == gain
