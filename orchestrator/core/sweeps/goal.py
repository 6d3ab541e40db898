"""A goal: a metric to optimise together with others, or within constraints."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core.metric import Direction, Metric


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """The allowed range of a metric; None: no limit on this side.

    Attributes:
        name: the metric's name, for example ``gap/loss``.
        min, max: the limits, inclusive.
    """

    name: str
    min: float | None = None
    max: float | None = None

    def excess(self, value: float) -> float:
        """Return how far a value is outside the range: at most 0 inside, infinite for NaN."""
        if math.isnan(value):
            return math.inf
        below = -math.inf if self.min is None else self.min - value
        above = -math.inf if self.max is None else value - self.max
        return max(below, above)

    def __str__(self) -> str:
        sides = (("≥", self.min), ("≤", self.max))
        return " and ".join(f"{self.name} {sign} {limit:g}" for sign, limit in sides if limit is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal(Metric):
    """A metric, further metrics to optimise with it, and constraints.

    The metric itself ranks the trials; see ``orchestrator.core.trials.ranking``.

    Attributes:
        also: the further metrics.
        constraints: ranges of metrics, each metric at most once.
    """

    also: tuple[Metric, ...] = ()
    constraints: tuple[Constraint, ...] = ()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics to optimise, the ranking one first."""
        return (Metric(name=self.name, direction=self.direction), *self.also)

    def violation(self, values: Mapping[str, float], missing: float = 0.0) -> float:
        """Return the sum of the excesses over all constraints; 0 if the values keep them.

        Args:
            values: metrics by name.
            missing: excess of a metric without a value.
        """
        excesses = (
            constraint.excess(values[constraint.name]) if constraint.name in values else missing
            for constraint in self.constraints
        )
        return sum(excess for excess in excesses if excess > 0)


def names_of(metric: Metric) -> frozenset[str]:
    """Return the names of the metrics of a goal and of its constraints."""
    constrained = (each.name for each in metric.constraints) if isinstance(metric, Goal) else ()
    return frozenset({*(each.name for each in metric.metrics), *constrained})


def goal(metric: Metric, also: Iterable[Metric] = (), constraints: Iterable[Constraint] = ()) -> Metric:
    """Return a goal, or the metric itself if nothing is added to it."""
    also, constraints = tuple(also), tuple(constraints)
    if not also and not constraints:
        return metric
    return Goal(name=metric.name, direction=metric.direction, also=also, constraints=constraints)


def metric_from_json(stored: Mapping[str, Any]) -> Metric:
    """Return the metric or goal stored by ``dataclasses.asdict``."""
    also = (Metric(name=each["name"], direction=Direction(each["direction"])) for each in stored.get("also", ()))
    constraints = (Constraint(**each) for each in stored.get("constraints", ()))
    return goal(Metric(name=stored["name"], direction=Direction(stored["direction"])), also, constraints)
