"""A measured value against its bound: kept, broken, or undecided, by the interval of the value."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.gates import MetricBound
from orchestrator.evaluation.scores.adapter_intervals import SHIFT, USED, is_used
from orchestrator.evaluation.scores.score_intervals import MetricInterval

if TYPE_CHECKING:
    from orchestrator.statistics.intervals import Interval

POWER = 0.8
"""Probability with which the stated number of rows decides."""
CHOSEN = "validation rows chose the trial"
UNSTORED = "its rows are not stored"
"""An earlier version measured it, or the adapter was not kept."""
NOT_A_MEAN = "its rows do not give this metric"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What rows say of a value and its bound.

    Attributes:
        passed: whether the bound is kept; None: undecided.
        interval: interval of the value; None: there is none.
        note: the interval, or why there is none, and the rows that would decide, in words.
        rows_needed: rows that would decide an undecided value; None: decided, or no number decides.
        rows_of: what these rows are, in words.
    """

    passed: bool | None
    interval: "Interval | None"
    note: str
    rows_needed: int | None = None
    rows_of: str = "test rows"


def decide(value: float, bound: MetricBound, limits: MetricInterval | None, why: str = UNSTORED) -> Decision:
    """Return whether a value keeps its bound.

    A measured value within the bound keeps it, as a measured gain of at least ``champion_gain`` is enough for the gate
    ``champion``. A value outside breaks the bound if its whole interval is outside. Else the rows do not decide.
    Without an interval the value alone decides. NaN keeps no bound.

    Args:
        value: the measured value.
        bound: its bound.
        limits: its interval; None: there is none.
        why: why there is none, in words.
    """
    low, high = (-math.inf if bound.min is None else bound.min), (math.inf if bound.max is None else bound.max)
    kept = low <= value <= high
    if limits is None or not math.isfinite(value):
        return Decision(passed=kept, interval=None, note=f"no interval: {why}")
    from orchestrator.statistics.intervals import rows_for_bound

    interval = limits.around(value)
    note = f"{100 * limits.level:.0f} % interval {limits.low:.4f} to {limits.high:.4f}, {limits.samples}"
    crossed = [each for each in (low, high) if limits.low <= each <= limits.high]
    if not crossed or value in (low, high):
        return Decision(passed=kept, interval=interval, note=note)
    nearest = min(crossed, key=lambda each: abs(each - value))
    needed = rows_for_bound(interval, limits.rows, nearest, limits.seed_sd or 0.0, POWER)
    if needed is None:
        rows = "no number of rows"
    else:
        grown = f" ({needed / limits.rows:.1f} times as many of each kind)" if limits.beside else ""
        rows = f"about {needed:,} {limits.of}{grown}"
    if kept:
        return Decision(passed=True, interval=interval, note=f"{note}; not shown: {rows} would show it")
    seeds = " because the noise between seeds hides it" if needed is None else ""
    return Decision(
        passed=None,
        interval=interval,
        note=f"{note}; undecided: {rows} would show that the bound is broken{seeds}",
        rows_needed=needed,
        rows_of=limits.of,
    )


def why_none(name: str, metric: Metric) -> str:
    """Return why a stored metric has no interval, in words.

    Args:
        name: the metric, with its split.
        metric: the searched metric.
    """
    split = name.rpartition("/")[0]
    if is_used(f"{split}/" if split.startswith(SHIFT) else name, metric):
        return USED
    if split == "val" or name.startswith("best_val_"):
        return CHOSEN
    return NOT_A_MEAN if split in {"test", "general"} else UNSTORED
