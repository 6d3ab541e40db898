"""The gain of a search over its start points, in one sentence."""

from orchestrator.core.sweep import SweepStatus
from orchestrator.report.leaderboard import Leaderboard, Row


def search_gain(board: Leaderboard, start_points: int) -> str | None:
    """Return whether the proposals of a finished search beat its start points, and by how much.

    Both are compared by the values of the search. None: the sweep has not finished, or one side has no score.

    Args:
        board: the leaderboard of the sweep.
        start_points: their number; the first trials train them.
    """
    first = _best(board, [row for row in board.rows if row.number < start_points])
    proposed = _best(board, [row for row in board.rows if row.number >= start_points])
    if board.status is not SweepStatus.FINISHED or first is None or proposed is None:
        return None
    name, (start, start_value), (trial, value) = board.metric.name, first, proposed
    if board.metric.better(value, start_value):
        return (
            f"The search improved {name} by {abs(value - start_value):.4f} over its start points: {start_value:.4f} "
            f"(trial {start.number}) to {value:.4f} (trial {trial.number})"
        )
    return (
        f"The search found no better configuration than start point trial {start.number} ({name} {start_value:.4f} "
        f"after {start.trained:,} samples; best proposal: trial {trial.number}, {value:.4f} after {trial.trained:,}). "
        "More training rows, another base model or a wider search.space may help more than further trials"
    )


def _best(board: Leaderboard, rows: list[Row]) -> tuple[Row, float] | None:
    """Return the best row by the search and its value, the first of equal ones; None without a value."""
    ordered = sorted(rows, key=lambda row: row.number)
    scored = [(row, row.searched) for row in ordered if row.searched is not None]
    return min(scored, key=lambda pair: board.metric.sort_key(pair[1]), default=None)
