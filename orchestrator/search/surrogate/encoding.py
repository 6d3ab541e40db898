"""Points of a space as vectors: coordinates for drawing points, features for the Gaussian process."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.space import (
    Choices,
    Constant,
    Distribution,
    FloatRange,
    IntRange,
    Parameter,
    ParamValue,
    Space,
    is_number,
    place_in_range,
)

Array = NDArray[np.float64]
Point = Mapping[str, ParamValue]


class Encoding:
    """Coordinates and features of a space's points.

    A *coordinate* in [0, 1) chooses the value of one parameter: its place in a range, on the logarithmic scale if it
    has one, or the index of a choice. *Features* describe the active values: the place of a number, among its choices
    by rank; for other choices one indicator each; the middle for an inactive parameter.

    Attributes:
        size: number of coordinates: of searched parameters, active or not.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._searched = [one for one in space.parameters if not isinstance(one.distribution, Constant)]
        self.size = len(self._searched)

    def points(self, coordinates: Array, fixed: Point) -> list[dict[str, ParamValue]]:
        """Return the points of coordinates, with constants and without inactive parameters.

        Args:
            coordinates: shape (n, size).
            fixed: values that replace those of the coordinates.
        """
        return [self._point(dict(zip(self._names, row, strict=True)), fixed) for row in coordinates]

    def features(self, points: Sequence[Point]) -> Array:
        """Return the features, shape (n, number of features), values in [0, 1]."""
        return np.array([[value for one in self._searched for value in _features(one, point)] for point in points])

    def coordinates(self, point: Point) -> Array:
        """Return the coordinates of one point, shape (size,), 0.5 for an inactive parameter."""
        return np.array(
            [_place(one.distribution, point[one.name]) if one.name in point else 0.5 for one in self._searched]
        )

    @property
    def _names(self) -> list[str]:
        return [one.name for one in self._searched]

    def _point(self, coordinates: Mapping[str, float], fixed: Point) -> dict[str, ParamValue]:
        point: dict[str, ParamValue] = {}
        for parameter in self._space.parameters:
            if not parameter.is_active(point):
                continue
            distribution = parameter.distribution
            if isinstance(distribution, Constant):
                point[parameter.name] = distribution.value
            elif parameter.name in fixed:
                point[parameter.name] = fixed[parameter.name]
            else:
                point[parameter.name] = _value(distribution, coordinates[parameter.name])
        return point


def _value(distribution: FloatRange | IntRange | Choices, coordinate: float) -> ParamValue:
    """Return the value at a coordinate in [0, 1]; 1 is the last value."""
    if isinstance(distribution, Choices):
        return distribution.choices[min(int(coordinate * len(distribution.choices)), len(distribution.choices) - 1)]
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        value = math.exp(math.log(low) + coordinate * (math.log(high) - math.log(low)))
    else:
        value = low + coordinate * (high - low)
    if distribution.step is not None:
        steps = math.floor((high - low) / distribution.step + 1e-9)
        value = low + min(steps, max(0, round((value - low) / distribution.step))) * distribution.step
    value = min(high, max(low, value))
    return round(value) if isinstance(distribution, IntRange) else value


def _place(distribution: Distribution, value: ParamValue) -> float:
    """Return the coordinate of a value; ``_value`` gives the value back, up to rounding."""
    if isinstance(distribution, Choices):
        return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
    assert isinstance(distribution, FloatRange | IntRange)
    assert isinstance(value, int | float)
    return place_in_range(distribution, value)


def _features(parameter: Parameter, point: Point) -> list[float]:
    distribution, active = parameter.distribution, parameter.name in point
    if not isinstance(distribution, Choices):
        return [_place(distribution, point[parameter.name]) if active else 0.5]
    ordered = _numbers(distribution)
    if ordered is not None:
        place = ordered.index(point[parameter.name]) if active else 0.5 * (len(ordered) - 1)
        return [place / max(1, len(ordered) - 1)]
    return [float(active and choice == point[parameter.name]) for choice in distribution.choices]


def _numbers(choices: Choices) -> list[ParamValue] | None:
    """Return the choices in ascending order if all are numbers, else None."""
    numbers = [one for one in choices.choices if is_number(one)]
    return [*sorted(numbers)] if len(numbers) == len(choices.choices) else None
