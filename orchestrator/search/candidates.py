"""A finite set of candidates for the trials of a sweep: the nearest untried one replaces each proposal."""

import math
from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.space import (
    Choices,
    Constant,
    Distribution,
    FloatRange,
    IntRange,
    ParamValue,
    Space,
    place_in_range,
)
from orchestrator.ledger.codec import canonical


class CandidateSet:
    """Points of a space, with their distances in the unit cube.

    A range has the length 1, on its logarithmic scale if it has one. Two choices have the distance 0 if they are equal,
    else 1. An inactive parameter has the distance 1 from an active one. The total is Euclidean.
    """

    def __init__(self, points: Sequence[Mapping[str, ParamValue]], space: Space) -> None:
        """Keep the points; of equally near ones the first is chosen.

        Raises:
            ValueError: a point is outside the space, or has other parameters than the active ones.
        """
        for point in points:
            if not space.contains(point):
                raise ValueError(f"a candidate is not a point of the space: {dict(point)}")
        self._points = tuple(points)
        self._keys = tuple(canonical(point) for point in points)
        self._parameters = [p for p in space.parameters if not isinstance(p.distribution, Constant)]
        self._unordered = np.array([isinstance(p.distribution, Choices) for p in self._parameters], dtype=bool)
        self._positions = np.array([self._position(point) for point in points])

    def nearest(self, point: Mapping[str, ParamValue], tried: Container[str]) -> Mapping[str, ParamValue]:
        """Return the nearest candidate to a point of the space.

        Args:
            point: values of the active parameters.
            tried: canonical texts of the candidates left out; at least one candidate must remain.
        """
        position = self._position(point)
        with np.errstate(invalid="ignore"):
            gaps = self._positions - position
        gaps[:, self._unordered] = gaps[:, self._unordered] != 0.0
        inactive = np.isnan(self._positions)
        gaps[inactive | np.isnan(position)] = 1.0
        gaps[inactive & np.isnan(position)] = 0.0
        order = np.argsort((gaps**2).sum(axis=1), kind="stable")
        return next(self._points[index] for index in order if self._keys[index] not in tried)

    def _position(self, point: Mapping[str, ParamValue]) -> NDArray[np.float64]:
        """Return one coordinate per searched parameter; NaN for an inactive one."""
        return np.array(
            [_coordinate(p.distribution, point[p.name]) if p.name in point else math.nan for p in self._parameters]
        )


def _coordinate(distribution: Distribution, value: ParamValue) -> float:
    """Return a value's place: in [0, 1] for a range, the index of a choice."""
    if isinstance(distribution, Choices):
        return float(distribution.choices.index(value))
    assert isinstance(distribution, FloatRange | IntRange)
    assert isinstance(value, float | int)
    return place_in_range(distribution, value)
