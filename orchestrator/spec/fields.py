"""Kinds of value that several sections share. A message is the broken rule; the value is added where it is shown."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from orchestrator.core.space import ParamValue

TEXT, MAPPING = "(text)", "(mapping)"
"""Tags of the two forms of a value; the brackets keep them apart from keys when an error's location is read."""


class Section(BaseModel):
    """A part of the sweep file: no unknown keys, no conversions that the user did not ask for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def broken(rule: str) -> PydanticCustomError:
    """Return the error for a broken rule; the message adds ``got`` and the value."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def whole(value: object) -> object:
    """Take 3.0e7 for 30000000, and leave everything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, Field(ge=1), BeforeValidator(whole)]
"""A whole number of at least 1."""

Natural = Annotated[int, Field(ge=0), BeforeValidator(whole)]


def _reports(value: object) -> int | tuple[int, ...]:
    """Return a number of reports, or the samples of each of them."""
    numbers: list[Any] = [whole(one) for one in (value if isinstance(value, list) else [value])]
    if not numbers or any(type(one) is not int or one < 1 for one in numbers):
        raise broken("a number of reports >= 1, or a list of samples >= 1, is needed")
    if sorted(set(numbers)) != numbers:
        raise broken("samples in ascending order, each once, are needed")
    if not isinstance(value, list) and numbers[0] > _MOST_REPORTS:
        raise broken(f"at most {_MOST_REPORTS} reports are possible")
    return tuple(numbers) if isinstance(value, list) else numbers[0]


_MOST_REPORTS = 1000
_REPORTS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _MOST_REPORTS},
        {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "uniqueItems": True},
    ]
}
Reports = Annotated[int | tuple[int, ...], BeforeValidator(_reports), WithJsonSchema(_REPORTS_SCHEMA)]
"""How many reports, or at which samples."""

Seed = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(whole)]


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise broken("a name of letters, digits, '.', '_' and '-' is needed")
    return value


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9._-]+$"})]
"""What can stand in a file name and before the '#' of a sweep's reference."""


_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def _seconds(value: object) -> float:
    """Return a time such as 90s, 20m, 1h30m, or a number of seconds, in seconds."""
    seconds = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := _SPAN.fullmatch(value.replace(" ", ""))):
        hours, minutes, rest = (float(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    if seconds <= 0:
        raise broken("a time such as 90s, 20m or 1h30m is needed")
    return seconds


_SECONDS_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": r"^(\d+(\.\d+)?h)? ?(\d+(\.\d+)?m)? ?(\d+(\.\d+)?s)?$"},
    ]
}
Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_SECONDS_SCHEMA)]


def _scalar(value: ParamValue) -> ParamValue:
    if isinstance(value, dict | list):
        raise broken("a single value is needed (several names: one string, with commas)")
    return value


Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema({"type": ["number", "string", "boolean", "null"]})]
"""A single value of YAML."""


def _shape(value: object) -> str:
    return TEXT if isinstance(value, str) else MAPPING


by_shape = Discriminator(_shape)
"""Chooses between the short form of a value, a text, and its long form, a mapping."""


class HubSource(Section):
    """A model or data set of the Hugging Face hub."""

    hub: str = Field(description="the repository: org/name")
    config: str | None = Field(default=None, description="the data set's configuration, if it has several")
    split: str | None = Field(default=None, description="the data set's split to read")
    revision: str | None = Field(default=None, description="commit, tag or branch")


SourceEntry = Annotated[Annotated[str, Tag(TEXT)] | Annotated[HubSource, Tag(MAPPING)], by_shape]
"""A packaged name, hub:org/name or a path; or the mapping with hub."""

DeepSpeedEntry = Annotated[Annotated[str, Tag(TEXT)] | Annotated[dict[str, Any], Tag(MAPPING)], by_shape]
"""A name, the path of a JSON file, or a configuration of DeepSpeed's."""
