"""Distances between points of a space, in its unit cube."""

import math
from collections.abc import Mapping

from orchestrator.core.space import Choices, Constant, Distribution, FloatRange, IntRange, ParamValue, Space


def distance(space: Space, point: Mapping[str, ParamValue], other: Mapping[str, ParamValue]) -> float:
    """Return the Euclidean distance of two points.

    A range is one unit long, in the logarithm where the space is logarithmic. Two choices are 0 or 1 apart. An active
    parameter is 1 apart from an inactive one.
    """
    return math.sqrt(sum(_gap(one.distribution, one.name, point, other) ** 2 for one in space.parameters))


def partial_distance(space: Space, partial: Mapping[str, ParamValue], point: Mapping[str, ParamValue]) -> float:
    """Return the distance over the parameters of ``partial`` alone."""
    given = tuple(parameter for parameter in space.parameters if parameter.name in partial)
    return distance(Space(parameters=given), partial, point)


def unit(distribution: Distribution, value: ParamValue) -> float:
    """Return a value's place in [0, 1]; a choice has the place of its index."""
    match distribution:
        case Constant():
            return 0.0
        case Choices(choices=choices):
            return choices.index(value) / max(1, len(choices) - 1)
        case FloatRange() | IntRange():
            assert isinstance(value, int | float)
            low, high, at = float(distribution.low), float(distribution.high), float(value)
            if distribution.log:
                low, high, at = math.log(low), math.log(high), math.log(at)
            return 0.0 if high == low else (at - low) / (high - low)


def features(space: Space, point: Mapping[str, ParamValue]) -> list[float]:
    """Return the places of all searched parameters; an inactive one is at −1."""
    return [
        unit(one.distribution, point[one.name]) if one.name in point else -1.0
        for one in space.parameters
        if not isinstance(one.distribution, Constant)
    ]


def _gap(
    distribution: Distribution, name: str, point: Mapping[str, ParamValue], other: Mapping[str, ParamValue]
) -> float:
    if (name in point) != (name in other):
        return 1.0
    if name not in point or isinstance(distribution, Constant):
        return 0.0
    if isinstance(distribution, Choices):
        return float(point[name] != other[name])
    return abs(unit(distribution, point[name]) - unit(distribution, other[name]))
