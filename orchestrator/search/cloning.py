"""The configuration of a clone: the values of a trial with some of them changed, checked against the space."""

from collections.abc import Mapping

from orchestrator.core.errors import UserError
from orchestrator.core.space import (
    Choices,
    Constant,
    Distribution,
    FloatRange,
    IntRange,
    Parameter,
    ParamValue,
    Space,
    format_value,
    is_number,
    is_possible,
)


def clone_params(
    space: Space, params: Mapping[str, ParamValue], changes: Mapping[str, ParamValue]
) -> dict[str, ParamValue]:
    """Return the values of a clone. Values of parameters that become inactive are dropped.

    Args:
        space: the search space.
        params: the values of the trial.
        changes: new values by parameter.

    Raises:
        UserError: a change names no active parameter or no possible value, or a newly active parameter lacks a value.
    """
    chosen: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        name = parameter.name
        if not parameter.is_active(chosen):
            if name in changes:
                raise UserError(f"--set {name}: it is used only if {_condition(parameter)}; set that too")
        elif name in changes:
            chosen[name] = _value(parameter, changes[name])
        elif name in params:
            chosen[name] = params[name]
        else:
            raise UserError(
                f"--set {name}: a value is needed, because {_condition(parameter)}: {_possible(parameter.distribution)}"
            )
    unknown = sorted(changes.keys() - {parameter.name for parameter in space.parameters})
    if unknown:
        names = ", ".join(space.searched)
        raise UserError(f"--set {unknown[0]}: not a parameter of search.space; its parameters: {names}")
    return chosen


def _value(parameter: Parameter, value: ParamValue) -> ParamValue:
    """Return a value with the kind of its distribution: 1 for a range of real numbers is 1.0."""
    distribution = parameter.distribution
    if isinstance(distribution, Choices):
        for choice in distribution.choices:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return choice
    elif isinstance(distribution, IntRange) and isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(distribution, FloatRange) and is_number(value):
        value = float(value)
    if isinstance(distribution, Choices) or not is_possible(distribution, value):
        raise UserError(
            f"--set {parameter.name}: {_possible(distribution)} is needed, got {format_value(value)}; other values are "
            "outside of search.space and belong in another sweep"
        )
    return value


def _possible(distribution: Distribution) -> str:
    match distribution:
        case Constant():
            return f"{format_value(distribution.value)}, the same in all trials,"
        case Choices():
            return f"one of {', '.join(map(format_value, distribution.choices))}"
        case IntRange():
            step = f", {distribution.step} apart" if distribution.step != 1 else ""
            return f"an integer from {distribution.low} to {distribution.high}{step}"
    step = "" if distribution.step is None else f", {distribution.step:g} apart"
    return f"a number from {distribution.low:g} to {distribution.high:g}{step}"


def _condition(parameter: Parameter) -> str:
    conditions = (f"{name} is {' or '.join(map(format_value, values))}" for name, values in parameter.when.items())
    return " and ".join(conditions)
