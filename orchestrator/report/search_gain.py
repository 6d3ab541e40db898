"""The gain of a search over its start points."""

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.report.leaderboard import Leaderboard, Row


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchGain:
    """The best start point and the best other trial, by the values of the search.

    Attributes:
        metric: name of the searched metric.
        start, proposal: the two trials.
        start_value, value: their values of the metric.
        improved: whether the proposal is better.
    """

    metric: str
    start: Row
    start_value: float
    proposal: Row
    value: float
    improved: bool

    @property
    def difference(self) -> float:
        """The absolute difference of both values."""
        return abs(self.value - self.start_value)

    @property
    def sentence(self) -> str:
        """Whether the proposals of the search beat its start points, and by how much; without a full stop."""
        name, start, trial = self.metric, self.start, self.proposal
        if self.improved:
            return (
                f"The search improved {name} by {self.difference:.4f} over its start points: {self.start_value:.4f} "
                f"(trial {start.number}) to {self.value:.4f} (trial {trial.number})"
            )
        return (
            f"The search found no better configuration than start point trial {start.number} ({name} "
            f"{self.start_value:.4f} after {start.trained:,} samples; best proposal: trial {trial.number}, "
            f"{self.value:.4f} after {trial.trained:,}). More training rows, another base model or a wider "
            "search.space may help more than further trials"
        )


def search_gain(board: Leaderboard, start_points: Collection[int]) -> SearchGain | None:
    """Return the gain of a finished search; None: it has not finished, or one side has no score within the constraints.

    Args:
        board: the leaderboard of the sweep.
        start_points: numbers of the trials that train them.
    """
    first = _best(board, [row for row in board.within if row.number in start_points])
    proposed = _best(board, [row for row in board.within if row.number not in start_points])
    if board.status is not SweepStatus.FINISHED or first is None or proposed is None:
        return None
    (start, start_value), (trial, value) = first, proposed
    return SearchGain(
        metric=board.metric.name,
        start=start,
        start_value=start_value,
        proposal=trial,
        value=value,
        improved=board.metric.better(value, start_value),
    )


def _best(board: Leaderboard, rows: list[Row]) -> tuple[Row, float] | None:
    """Return the best row by the search and its value, the first of equal ones; None without a value."""
    ordered = sorted(rows, key=lambda row: row.number)
    scored = [(row, row.searched) for row in ordered if row.searched is not None]
    return min(scored, key=lambda pair: board.metric.sort_key(pair[1]), default=None)
