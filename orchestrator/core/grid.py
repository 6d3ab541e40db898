"""The points of a finite search space."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from orchestrator.core.space import Choices, Constant, Distribution, FloatRange, IntRange, ParamValue, Space

MOST_POINTS = 50_000
"""A finite space with more points counts as endless."""


def endless(space: Space) -> tuple[str, ...]:
    """Return the parameters with infinitely many values: real ranges without a step."""
    return tuple(parameter.name for parameter in space.parameters if _values(parameter.distribution) is None)


def all_points(space: Space) -> tuple[dict[str, ParamValue], ...] | None:
    """Return every distinct point under the conditions, in the order of the file; None if there are too many."""
    if endless(space):
        return None
    points: list[dict[str, ParamValue]] = []
    for point in _walk(space, 0, {}):
        if len(points) == MOST_POINTS:
            return None
        points.append(point)
    return tuple(points)


def _walk(space: Space, index: int, chosen: Mapping[str, ParamValue]) -> Iterator[dict[str, ParamValue]]:
    if index == len(space.parameters):
        yield dict(chosen)
        return
    parameter = space.parameters[index]
    if not parameter.is_active(chosen):
        yield from _walk(space, index + 1, chosen)
        return
    for value in _values(parameter.distribution) or ():
        yield from _walk(space, index + 1, {**chosen, parameter.name: value})


def _values(distribution: Distribution) -> tuple[ParamValue, ...] | range | None:
    match distribution:
        case Constant():
            return (distribution.value,)
        case Choices():
            return distribution.choices
        case IntRange():
            return range(distribution.low, distribution.high + 1, distribution.step)
        case FloatRange(step=None):
            return (distribution.low,) if distribution.low == distribution.high else None
        case FloatRange(low=low, high=high, step=step):
            # In decimals, like the file and Optuna: 0.1 has no exact binary form.
            first, last, each = (Decimal(str(number)) for number in (low, high, step))
            return tuple(float(first + index * each) for index in range(int((last - first) // each) + 1))
