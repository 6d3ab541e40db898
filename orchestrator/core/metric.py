"""Metrics by name and direction."""

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Direction(enum.StrEnum):
    """The direction in which a metric improves."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric by its name in reports, for example ``val/accuracy``, and its direction."""

    name: str
    direction: Direction

    def better(self, candidate: float, incumbent: float) -> bool:
        """Return whether ``candidate`` is strictly better. NaN is never better, and any number is better than NaN."""
        if math.isnan(candidate):
            return False
        if math.isnan(incumbent):
            return True
        return candidate < incumbent if self.direction is Direction.MINIMIZE else candidate > incumbent

    def first_best(self, values: Sequence[float]) -> int | None:
        """Return the place of the best value, the first of equal ones; None if no value is a number."""
        best: int | None = None
        for place, value in enumerate(values):
            if self.better(value, math.nan if best is None else values[best]):
                best = place
        return best

    @property
    def metrics(self) -> "tuple[Metric, ...]":
        """All metrics to optimise; see ``orchestrator.core.sweeps.goal.Goal``."""
        return (self,)

    def violation(self, values: Mapping[str, float], missing: float = 0.0) -> float:  # noqa: ARG002  (see ``Goal``)
        """Return how far values are outside the constraints: a plain metric has none."""
        return 0.0

    def sort_key(self, value: float | None) -> float:
        """Return a sort key: the best value first, missing values and NaN last."""
        if value is None or math.isnan(value):
            return math.inf
        return value if self.direction is Direction.MINIMIZE else -value
