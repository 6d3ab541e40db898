"""Builds section fields from ``core.trials.settings.SETTING_RULES``, for fixed settings and for searched ones."""

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, Field, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from orchestrator.core.methods.catalogue import REFUSED
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import LEAST, MOST_OF_SETTING, SETTING_RULES, Group, SettingRule
from orchestrator.spec.document.problems import yaml_text
from orchestrator.spec.document.suggest import did_you_mean
from orchestrator.spec.sections.fields import MAX_ITEMS, OptionValue, Scalar, Section, Short, as_integer

_Model = TypeVar("_Model", bound=type[Section])
_JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}


class ParameterEntry(Section):
    """How one setting is searched: low and high, choices, or a fixed value; when makes it conditional."""

    low: Scalar = Field(default=None, description="smallest value")
    high: Scalar = Field(default=None, description="largest value")
    log: bool = Field(
        default=False, description="draw uniformly in the logarithm: for rates that span orders of magnitude"
    )
    step: Scalar = Field(default=None, description="draw multiples of this, counted from low")
    choices: list[Scalar] = Field(
        default=[], max_length=MAX_ITEMS, description="draw one of these values; their order means nothing"
    )
    value: Scalar = Field(default=None, description="always this value")
    when: dict[Short, Scalar | Annotated[list[Scalar], Field(max_length=MAX_ITEMS)]] = Field(
        default={},
        max_length=10,
        description="search this only if each parameter named here has (one of) the values given",
    )


def setting_value(rule: SettingRule, value: ParamValue | dict[str, float]) -> ParamValue:
    """Return ``value`` converted to the setting's kind if the conversion is exact: 16 → 16.0, or 16.0 → 16.

    A mapping of class weights becomes a text.
    """
    if isinstance(value, dict):
        return json.dumps(value) if rule.weights else cast("ParamValue", value)
    if rule.kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return as_integer(value) if rule.kind is int else value


def free_rule(name: str, entry: ParameterEntry) -> SettingRule:
    """Return the rule of a function's parameter: integers if all numbers of its range are, else any numbers.

    Choices and fixed values may be any scalars.
    """
    numbers = [number for number in (entry.low, entry.high, entry.step) if number is not None]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    kind: type = object if not numbers else int if whole else float
    return SettingRule(
        name=name,
        kind=kind,
        optional=kind is object,
        default=None,
        group=Group.TRAINING,
        doc="",
        low=None,
        high=None,
        open_low=False,
        choices=(),
    )


def setting_problem(rule: SettingRule, value: ParamValue) -> str | None:
    """Return an error message if ``value`` breaks the setting's rule, else None.

    The message has a hint if the value is a number written as text.
    """
    if rule.name == "method" and value in REFUSED:
        return f"{value} cannot be trained here: {REFUSED[str(value)]}"
    problem = rule.problem(value)
    if problem and isinstance(value, bool):
        return problem.replace(repr(value), yaml_text(value))
    if problem and isinstance(value, str) and rule.kind in (int, float):
        try:
            return f"{problem}; written as a number it is {float(value)!r}"
        except ValueError:
            return problem
    return f"{problem}{did_you_mean(value, rule.choices)}" if problem and isinstance(value, str) else problem


def with_settings(group: Group) -> Callable[[_Model], _Model]:
    """Add a field for every setting of ``group`` to a section."""
    fields = {name: _fixed_field(rule) for name, rule in SETTING_RULES.items() if rule.group is group}
    if group is Group.ADAPTER:
        text = "further options of the method, by peft's own names and values"
        fields["options"] = (dict[Short, OptionValue], Field(default={}, max_length=MAX_ITEMS, description=text))
    return _extended(fields)


def with_parameters(section: _Model) -> _Model:
    """Add a searchable field for every setting to a section."""
    fields = {
        name: (ParameterEntry | None, Field(default=None, description=f"{rule.doc}{_range(rule)}"))
        for name, rule in SETTING_RULES.items()
    }
    return _extended(fields)(section)


def _extended(fields: dict[str, Any]) -> Callable[[_Model], _Model]:
    def extend(section: _Model) -> _Model:
        model = create_model(section.__name__, __base__=section, __module__=section.__module__, **fields)
        model.__doc__ = section.__doc__
        return cast("_Model", model)

    return extend


def _fixed_field(rule: SettingRule) -> tuple[Any, Any]:
    def check(value: ParamValue) -> ParamValue:
        value = setting_value(rule, value)
        problem = setting_problem(rule, value)
        if problem:
            raise PydanticCustomError("complete", "{problem}", {"problem": problem})
        return value

    annotation = Annotated[Any, AfterValidator(check), WithJsonSchema(_schema(rule))]
    return annotation, Field(default=rule.default, description=f"{rule.doc}{_range(rule)}")


def _schema(rule: SettingRule) -> dict[str, Any]:
    kind = _JSON_TYPES[rule.kind]
    schema: dict[str, Any] = {"type": [kind, "null"] if rule.optional else kind}
    if rule.weights:
        schema["type"] = ["string", "object"]
    if rule.choices:
        schema["enum"] = list(rule.choices)
    if rule.low is not None:
        schema["exclusiveMinimum" if rule.open_low else "minimum"] = rule.low
    if rule.open_low:
        schema["minimum"] = LEAST
    if rule.kind is str:
        schema["maxLength"] = MOST_OF_SETTING
    if rule.high is not None:
        schema["maximum"] = rule.high
    return schema


def _range(rule: SettingRule) -> str:
    bounds = [f"{'>' if rule.open_low else '>='} {rule.low:g}"] if rule.low is not None else []
    if rule.high is not None:
        bounds.append(f"<= {rule.high:g}")
    return f" ({', '.join(bounds)})" if bounds else ""
