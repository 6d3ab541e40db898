"""The points of a search space, one by one, where they can be counted."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from orchestrator.core.space import ChoiceDomain, Domain, FixedDomain, FloatDomain, IntDomain, ParamValue, Space

MOST_POINTS = 50_000
"""Finite spaces with more points than this are treated as endless."""


def endless(space: Space) -> tuple[str, ...]:
    """Return the parameters whose values cannot be counted: real ranges without a step."""
    return tuple(parameter.name for parameter in space.parameters if _values(parameter.domain) is None)


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
    for value in _values(parameter.domain) or ():
        yield from _walk(space, index + 1, {**chosen, parameter.name: value})


def _values(domain: Domain) -> tuple[ParamValue, ...] | range | None:
    match domain:
        case FixedDomain():
            return (domain.value,)
        case ChoiceDomain():
            return domain.choices
        case IntDomain():
            return range(domain.low, domain.high + 1, domain.step)
        case FloatDomain(step=None):
            return (domain.low,) if domain.low == domain.high else None
        case FloatDomain(low=low, high=high, step=step):
            # In decimals, as the file says and as Optuna counts: 0.1 has no exact binary form.
            first, last, each = (Decimal(str(number)) for number in (low, high, step))
            return tuple(float(first + index * each) for index in range(int((last - first) // each) + 1))
