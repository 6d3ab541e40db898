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
    name, (start, (trial, score)) = board.metric.name, (first, proposed)
    if board.metric.better(score, start[1]):
        return (
            f"The search improved {name} by {abs(score - start[1]):.4f} over its start points: {start[1]:.4f} (trial "
            f"{start[0]}) to {score:.4f} (trial {trial})"
        )
    return (
        f"The search found no better configuration than start point trial {start[0]} ({name} {start[1]:.4f}; best "
        f"proposal: trial {trial}, {score:.4f}). More training rows, another base model or a wider search.space may "
        "help more than further trials"
    )


def _best(board: Leaderboard, rows: list[Row]) -> tuple[int, float] | None:
    """Return number and value of the best row by the search, the first of equal ones; None without a value."""
    ordered = sorted(rows, key=lambda row: row.number)
    scored = [(row.number, row.searched) for row in ordered if row.searched is not None]
    return min(scored, key=lambda pair: board.metric.sort_key(pair[1]), default=None)
