"""Nominal rungs: at how many training samples all trials report, and at which of those a rule compares them."""

from bisect import bisect_left
from collections.abc import Sequence


def report_points(max_samples: int, reports: int | Sequence[int]) -> tuple[int, ...]:
    """Return the samples at which every trial reports, ascending; the last is ``max_samples``.

    Args:
        max_samples: the longest trial's whole budget, at least 1.
        reports: how many, evenly spaced: fewer points come back if ``max_samples`` is below it. Or the samples
            themselves; those beyond the budget are left out.

    Raises:
        ValueError: a number is below 1.
    """
    if min(max_samples, *(reports if isinstance(reports, Sequence) else (reports,))) < 1:
        raise ValueError(f"max_samples and reports >= 1 must hold, got {max_samples} and {reports}")
    if isinstance(reports, int):
        reports = [-(-max_samples * step // reports) for step in range(1, reports + 1)]
    return (*sorted({samples for samples in reports if samples < max_samples}), max_samples)


def rungs(points: Sequence[int], grace_samples: int | None, reduction_factor: int) -> tuple[int, ...]:
    """Return the report points at which successive halving compares trials: grace · factor^k, below the last point.

    Each is rounded up to the next report point, so that all trials have a value at exactly that point.

    Args:
        points: the report points, ascending.
        grace_samples: samples that every trial may see; None is the first report point.
        reduction_factor: at least 2.
    """
    found: list[int] = []
    samples = max(grace_samples or points[0], 1)
    while (at := bisect_left(points, samples)) < len(points) - 1:
        if not found or points[at] > found[-1]:
            found.append(points[at])
        samples *= reduction_factor
    return tuple(found)
