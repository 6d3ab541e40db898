"""Search spaces: domains, parameters and the conditions under which a parameter is active."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

ParamValue: TypeAlias = float | int | str | bool | None
"""A value as YAML writes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatDomain:
    """Real numbers in [low, high]; uniform in the logarithm if ``log``; multiples of ``step`` from ``low`` if given."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IntDomain:
    """Integers in [low, high], ``step`` apart; uniform in the logarithm if ``log`` (then ``step`` is 1)."""

    low: int
    high: int
    log: bool = False
    step: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceDomain:
    """One of the listed values, without an order between them."""

    choices: tuple[ParamValue, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedDomain:
    """Always the same value; it is recorded as a parameter but never searched."""

    value: ParamValue


Domain: TypeAlias = FloatDomain | IntDomain | ChoiceDomain | FixedDomain


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A named domain. It is active if every parameter that ``when`` names has one of the values listed there."""

    name: str
    domain: Domain
    when: Mapping[str, tuple[ParamValue, ...]] = field(default_factory=dict)

    def is_active(self, chosen: Mapping[str, ParamValue]) -> bool:
        """Return whether the conditions hold under the values chosen so far (an inactive parent: they do not)."""
        return all(name in chosen and chosen[name] in values for name, values in self.when.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """Parameters in the order in which they are proposed: a parent comes before those conditioned on it."""

    parameters: tuple[Parameter, ...]

    def values(self, name: str) -> tuple[ParamValue, ...]:
        """Return the values that a parameter can have, of a range its ends; empty if it is not of the space."""
        found = next((parameter.domain for parameter in self.parameters if parameter.name == name), None)
        if found is None:
            return ()
        if isinstance(found, FixedDomain):
            return (found.value,)
        return found.choices if isinstance(found, ChoiceDomain) else (found.low, found.high)

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of the parameters that vary."""
        return tuple(p.name for p in self.parameters if not isinstance(p.domain, FixedDomain))
