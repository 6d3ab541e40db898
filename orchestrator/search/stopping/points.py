"""Report points and rungs, in nominal training samples."""

from bisect import bisect_left
from collections.abc import Sequence


def report_points(max_samples: int, reports: int | Sequence[int]) -> tuple[int, ...]:
    """Return the report points of every trial in samples, ascending; the last is ``max_samples``.

    Args:
        max_samples: the budget of the longest trial, at least 1.
        reports: the number of points, evenly spaced; at most ``max_samples`` points are returned. Or the points
            themselves; points beyond the budget are omitted.

    Raises:
        ValueError: a number is below 1.
    """
    if min(max_samples, *(reports if isinstance(reports, Sequence) else (reports,))) < 1:
        raise ValueError(f"max_samples and reports >= 1 must hold, got {max_samples} and {reports}")
    if isinstance(reports, int):
        reports = [-(-max_samples * step // reports) for step in range(1, reports + 1)]
    return (*sorted({samples for samples in reports if samples < max_samples}), max_samples)


def rungs(points: Sequence[int], grace_samples: int | None, reduction_factor: int) -> tuple[int, ...]:
    """Return the rungs of successive halving: grace · factor^k, below the last report point.

    Each rung is rounded up to the next report point, so all trials have a value at it.

    Args:
        points: the report points, ascending.
        grace_samples: samples granted to every trial; None means the first report point.
        reduction_factor: at least 2.
    """
    ladder: list[int] = []
    samples = max(grace_samples or points[0], 1)
    while (at := bisect_left(points, samples)) < len(points) - 1:
        if not ladder or points[at] > ladder[-1]:
            ladder.append(points[at])
        samples *= reduction_factor
    return tuple(ladder)
