"""Search spaces: distributions, parameters and the conditions under which a parameter is active."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

ParamValue: TypeAlias = float | int | str | bool | None
"""A value as YAML writes it."""


def format_value(value: ParamValue, digits: int = 6) -> str:
    """Return ``value`` as YAML writes it, floats with ``digits`` significant digits."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatRange:
    """Real numbers in [low, high]; uniform in the logarithm if ``log``; multiples of ``step`` from ``low`` if given."""

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
    """Always the same value; it is recorded as a parameter but never searched."""

    value: ParamValue


Distribution: TypeAlias = FloatRange | IntRange | Choices | Constant


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A named distribution. It is active if every parameter that ``when`` names has one of the values listed there."""

    name: str
    distribution: Distribution
    when: Mapping[str, tuple[ParamValue, ...]] = field(default_factory=dict)

    def is_active(self, chosen: Mapping[str, ParamValue]) -> bool:
        """Return whether the conditions hold under the values chosen so far (an inactive parent: they do not)."""
        return all(name in chosen and chosen[name] in values for name, values in self.when.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """Parameters in the order in which they are proposed: a parent comes before those conditioned on it."""

    parameters: tuple[Parameter, ...]

    def has(self, name: str) -> bool:
        """Return whether a parameter is of the space, searched or fixed there."""
        return any(parameter.name == name for parameter in self.parameters)

    def combinations(self, names: Collection[str]) -> tuple[dict[str, ParamValue], ...]:
        """Return what trials can have of these parameters together, each combination once; inactive ones are left out.

        Of a range stand its ends, the next to the lowest of integers (which says what kind of numbers they are), and
        the values that conditions name.
        """
        needed = {*names}
        for parameter in reversed(self.parameters):
            if parameter.name in needed:
                needed |= parameter.when.keys()
        found: list[dict[str, ParamValue]] = [{}]
        for parameter in self.parameters:
            if parameter.name in needed:
                values = self._values(parameter)
                if parameter.name not in names:
                    values = self._telling(parameter.name, values)
                found = [
                    {**chosen, parameter.name: value} if parameter.is_active(chosen) else chosen
                    for chosen in found
                    for value in (values if parameter.is_active(chosen) else values[:1])
                ]
        wanted = [{name: value for name, value in chosen.items() if name in names} for chosen in found]
        distinct: dict[frozenset[tuple[str, ParamValue]], dict[str, ParamValue]] = {}
        for chosen in wanted:
            distinct.setdefault(frozenset(chosen.items()), chosen)
        return tuple(distinct.values())

    def _telling(self, name: str, values: tuple[ParamValue, ...]) -> tuple[ParamValue, ...]:
        """Return one of the values for each set of conditions on ``name`` that values fulfil."""
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
        """Names of the parameters that vary."""
        return tuple(p.name for p in self.parameters if not isinstance(p.distribution, Constant))
