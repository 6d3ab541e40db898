"""Search spaces: distributions, parameters and the conditions under which a parameter is active."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from typing_extensions import TypeIs

ParamValue: TypeAlias = float | int | str | bool | None
"""A value in YAML."""

_ROUNDING = 1e-8
"""Largest rounding error of a value with a step, in steps."""


def format_value(value: ParamValue, digits: int = 6) -> str:
    """Return ``value`` as YAML writes it, floats with ``digits`` significant digits."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatRange:
    """Real numbers in [low, high], uniform in the logarithm if ``log``; with ``step``, only ``low`` + n · ``step``."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IntRange:
    """Integers in [low, high], ``step`` apart; uniform in the logarithm if ``log`` (then ``step`` is 1)."""

    low: int
    high: int
    log: bool = False
    step: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """One of the listed values, without an order between them."""

    choices: tuple[ParamValue, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """One value, recorded as a parameter but not searched."""

    value: ParamValue


Distribution: TypeAlias = FloatRange | IntRange | Choices | Constant


def is_possible(distribution: Distribution, value: ParamValue) -> bool:
    """Return whether a distribution has a value; a step is met up to rounding."""
    match distribution:
        case Constant():
            return value == distribution.value
        case Choices():
            return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int if isinstance(distribution, IntRange) else (int, float)):
        return False
    if not distribution.low <= value <= distribution.high:
        return False
    steps = 0.0 if distribution.step is None else (value - distribution.low) / distribution.step
    return abs(steps - round(steps)) < _ROUNDING


def nearest_value(distribution: Distribution, value: ParamValue) -> ParamValue:
    """Return the possible value nearest to ``value``; None if none is equal and numbers cannot be compared.

    Numbers are compared on the logarithmic scale in a range with ``log`` and among choices above zero. Of two values
    at the same distance, the lower one is returned.
    """
    equal = isinstance(distribution, Choices) and [c for c in distribution.choices if _same(c, value)]
    if equal:
        return equal[0]
    if not is_number(value):
        return None
    candidates: list[float]
    match distribution:
        case Constant():
            return distribution.value if _same(distribution.value, value) else None
        case Choices(choices=choices):
            candidates = sorted(choice for choice in choices if is_number(choice))
            log = value > 0 and min(candidates, default=0) > 0
        case FloatRange(step=None):
            return float(min(max(value, distribution.low), distribution.high))
        case FloatRange(low=low, high=high, step=step) | IntRange(low=low, high=high, step=step):
            assert step is not None
            steps = (min(max(value, low), high) - low) / step
            most = math.floor((high - low) / step + _ROUNDING)
            candidates = [low + min(count, most) * step for count in (math.floor(steps), math.ceil(steps))]
            log = distribution.log
    if not candidates:
        return None
    place = max(value, candidates[0])
    return min(candidates, key=lambda each: abs(math.log(each / place)) if log else abs(each - place))


def place_in_range(distribution: FloatRange | IntRange, value: float) -> float:
    """Return the position of a value in its range, in [0, 1], on the logarithmic scale if the range has ``log``.

    It is 0 if the range has one value.
    """
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.0


def is_number(value: ParamValue) -> TypeIs[float | int]:
    """Return whether a value is a number; true and false are not."""
    return isinstance(value, float | int) and not isinstance(value, bool)


def _same(first: ParamValue, second: ParamValue) -> bool:
    """Return whether two values are equal; true and 1 are not."""
    return first == second and isinstance(first, bool) == isinstance(second, bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A named distribution. It is active if each parameter named in ``when`` has one of the values listed there."""

    name: str
    distribution: Distribution
    when: Mapping[str, tuple[ParamValue, ...]] = field(default_factory=dict)

    def is_active(self, chosen: Mapping[str, ParamValue]) -> bool:
        """Return whether the conditions hold under the chosen values; a condition on an inactive parameter does not."""
        return all(name in chosen and chosen[name] in values for name, values in self.when.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """Parameters in the order of proposal: a parameter comes before its dependents."""

    parameters: tuple[Parameter, ...]

    def has(self, name: str) -> bool:
        """Return whether the space has a parameter, searched or constant."""
        return any(parameter.name == name for parameter in self.parameters)

    def contains(self, point: Mapping[str, ParamValue]) -> bool:
        """Return whether a point has a possible value of every active parameter, and of no other one."""
        chosen: dict[str, ParamValue] = {}
        for parameter in self.parameters:
            if parameter.is_active(chosen):
                if parameter.name not in point or not is_possible(parameter.distribution, point[parameter.name]):
                    return False
                chosen[parameter.name] = point[parameter.name]
        return chosen.keys() == point.keys()

    def combinations(self, names: Collection[str]) -> tuple[dict[str, ParamValue], ...]:
        """Return the possible combinations of these parameters, each once, without inactive parameters.

        A range is represented by its ends, by the second lowest integer (which shows the kind of the numbers), and by
        the values named in conditions.
        """
        needed = {*names}
        for parameter in reversed(self.parameters):
            if parameter.name in needed:
                needed |= parameter.when.keys()
        combinations: list[dict[str, ParamValue]] = [{}]
        for parameter in self.parameters:
            if parameter.name in needed:
                values = self._values(parameter)
                if parameter.name not in names:
                    values = self._distinguishing(parameter.name, values)
                combinations = [
                    {**chosen, parameter.name: value} if parameter.is_active(chosen) else chosen
                    for chosen in combinations
                    for value in (values if parameter.is_active(chosen) else values[:1])
                ]
        wanted = [{name: value for name, value in chosen.items() if name in names} for chosen in combinations]
        distinct: dict[frozenset[tuple[str, ParamValue]], dict[str, ParamValue]] = {}
        for chosen in wanted:
            distinct.setdefault(frozenset(chosen.items()), chosen)
        return tuple(distinct.values())

    def _distinguishing(self, name: str, values: tuple[ParamValue, ...]) -> tuple[ParamValue, ...]:
        """Return one value for each distinct set of fulfilled conditions on ``name``."""
        conditions = [other.when[name] for other in self.parameters if name in other.when]
        return tuple({tuple(value in accepted for accepted in conditions): value for value in values}.values())

    def _values(self, parameter: Parameter) -> tuple[ParamValue, ...]:
        distribution = parameter.distribution
        if isinstance(distribution, Constant):
            return (distribution.value,)
        if isinstance(distribution, Choices):
            return distribution.choices
        second = (
            min(distribution.low + distribution.step, distribution.high)
            if isinstance(distribution, IntRange)
            else distribution.low
        )
        named = [value for other in self.parameters for value in other.when.get(parameter.name, ())]
        return tuple(dict.fromkeys((distribution.low, second, *named, distribution.high)))

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of the parameters with more than one value."""
        return tuple(p.name for p in self.parameters if not isinstance(p.distribution, Constant))
