"""Report points: the same for all trials; trials with fewer epochs end earlier."""

import pytest

from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.timetable import Timetable, samples_of

POINTS = (500, 1000, 1500, 2000)


@pytest.mark.parametrize(
    ("epochs", "points"),
    [
        (2.0, POINTS),
        (1.0, (500, 1000)),
        (1.2, (500, 1000, 1200)),
        (0.25, (250,)),
        (0.0001, (1,)),
        (9.0, POINTS),
    ],
)
def test_trial_ends_after_its_epochs(epochs: float, points: tuple[int, ...]) -> None:
    assert Timetable(points=POINTS, rows_per_epoch=1000).of(TrialSettings(epochs=epochs)) == points


def test_fixed_epochs_end_at_the_last_point() -> None:
    """Trials of early ledgers have no epochs; the default is 1."""
    assert Timetable(points=POINTS).of(TrialSettings()) == POINTS


def test_samples_are_positive_integers() -> None:
    assert (samples_of(1.5, 3), samples_of(0.01, 3)) == (4, 1)
