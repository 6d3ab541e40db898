"""The points of a search space, one by one, where they can be counted."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from orchestrator.core.space import Choices, Constant, Distribution, FloatRange, IntRange, ParamValue, Space

MOST_POINTS = 50_000
"""Finite spaces with more points than this are treated as endless."""


def endless(space: Space) -> tuple[str, ...]:
    """Return the parameters whose values cannot be counted: real ranges without a step."""
    return tuple(parameter.name for parameter in space.parameters if _values(parameter.distribution) is None)


def all_points(space: Space) -> tuple[dict[str, ParamValue], ...] | None:
    """Return every distinct point, conditions heeded, in the order of the file; None if they are too many to count."""
    if endless(space):
        return None
    found: list[dict[str, ParamValue]] = []
    for point in _walk(space, 0, {}):
        if len(found) == MOST_POINTS:
            return None
        found.append(point)
    return tuple(found)


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
            # In decimals, as the file says and as Optuna counts: 0.1 has no exact binary form.
            first, last, each = (Decimal(str(number)) for number in (low, high, step))
            return tuple(float(first + index * each) for index in range(int((last - first) // each) + 1))
