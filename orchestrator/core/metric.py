"""Metrics by name and direction."""

import enum
import math
from dataclasses import dataclass


class Direction(enum.StrEnum):
    """Which way a metric gets better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric as reports name it, for example ``val/accuracy``, and the direction in which it gets better."""

    name: str
    direction: Direction

    def better(self, candidate: float, incumbent: float) -> bool:
        """Return whether ``candidate`` is strictly better; NaN is never better, and anything beats NaN."""
        if math.isnan(candidate):
            return False
        if math.isnan(incumbent):
            return True
        return candidate < incumbent if self.direction is Direction.MINIMIZE else candidate > incumbent

    def sort_key(self, value: float | None) -> float:
        """Return a key that sorts the best value first; missing values and NaN sort last."""
        if value is None or math.isnan(value):
            return math.inf
        return value if self.direction is Direction.MINIMIZE else -value
