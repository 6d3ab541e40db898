"""The gain of a search over its start points, in words."""

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import Constraint, goal
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.report.leaderboard import leaderboard
from orchestrator.report.search_gain import search_gain
from tests.report.examples import report, trial

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


def gain(scores: list[float | None], start_points: int, status: SweepStatus = SweepStatus.FINISHED) -> str | None:
    records = [
        trial(number, {"rank": number + 1}, () if score is None else (report(number, 100, 0.0, val__accuracy=score),))
        for number, score in enumerate(scores)
    ]
    found = search_gain(leaderboard(records, ACCURACY, status=status), range(start_points))
    return None if found is None else found.sentence


def test_gain_names_both_trials_and_the_difference() -> None:
    assert gain([0.80, 0.82, 0.81, 0.85], 2) == (
        "The search improved val/accuracy by 0.0300 over its start points: 0.8200 (trial 1) to 0.8500 (trial 3)"
    )


def test_gain_counts_trials_within_the_constraints() -> None:
    limited = goal(ACCURACY, constraints=[Constraint(name="val/loss", max=0.5)])
    records = [
        trial(number, {"rank": number + 1}, (report(number, 100, 0.0, val__accuracy=score, val__loss=loss),))
        for number, (score, loss) in enumerate([(0.8, 0.4), (0.9, 0.6), (0.82, 0.5)])
    ]
    found = search_gain(leaderboard(records, limited, status=SweepStatus.FINISHED), {0})
    assert found is not None
    assert (found.start.number, found.proposal.number) == (0, 2)


@pytest.mark.parametrize("best", [0.81, 0.82])
def test_search_without_gain_says_so(best: float) -> None:
    said = str(gain([0.80, 0.82, best, None], 2))
    assert said.startswith(
        "The search found no better configuration than start point trial 1 (val/accuracy 0.8200 after "
    )
    assert f"after 100 samples; best proposal: trial 2, {best:.4f} after 100)" in said
    assert "More training rows" in said


@pytest.mark.parametrize(
    ("scores", "start_points", "status"),
    [
        ([0.8, 0.9], 0, SweepStatus.FINISHED),
        ([0.8, 0.9], 2, SweepStatus.FINISHED),
        ([None, 0.9], 1, SweepStatus.FINISHED),
        ([0.8, None], 1, SweepStatus.FINISHED),
        ([0.8, 0.9], 1, SweepStatus.RUNNING),
    ],
)
def test_unknown_gain_is_not_stated(scores: list[float | None], start_points: int, status: SweepStatus) -> None:
    assert gain(scores, start_points, status) is None
