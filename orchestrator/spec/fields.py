"""Kinds of value that several sections share. A message is the broken rule; the value is added where it is shown."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from orchestrator.core.settings import MOST_OF_SETTING
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


Rows = Annotated[int, Field(ge=1, le=10**12), BeforeValidator(whole)]
"""Rows of data."""
Natural = Annotated[int, Field(ge=0, le=10**12), BeforeValidator(whole)]
"""The same, or none."""
Tokens = Annotated[int, Field(ge=1, le=10**15), BeforeValidator(whole)]
Trials = Annotated[int, Field(ge=1, le=10**6), BeforeValidator(whole)]
"""Trials, or a number that makes no sense beyond them."""
Threads = Annotated[int, Field(ge=1, le=1024), BeforeValidator(whole)]
"""Threads, processes, slots, folders: a machine holds so many at most."""

Short = Annotated[str, Field(max_length=256)]
"""A name in somebody else's system."""
Address = Annotated[str, Field(max_length=4096)]
"""A path, an address or a packaged name."""
Prose = Annotated[str, Field(max_length=5000)]
"""What a person writes for persons; MLflow keeps 8,000 characters of a note."""


def _reports(value: object) -> int | tuple[int, ...]:
    """Return a number of reports, or the samples of each of them."""
    numbers: list[Any] = [whole(one) for one in (value if isinstance(value, list) else [value])]
    if not numbers or any(type(one) is not int or one < 1 for one in numbers):
        raise broken("a number of reports >= 1, or a list of samples >= 1, is needed")
    if isinstance(value, list) and (len(numbers) > _MOST_REPORTS or max(numbers) > _MOST_SAMPLES):
        raise broken(f"at most {_MOST_REPORTS} reports, at {_MOST_SAMPLES:,} samples or before, are possible")
    if sorted(set(numbers)) != numbers:
        raise broken("samples in ascending order, each once, are needed")
    if not isinstance(value, list) and numbers[0] > _MOST_REPORTS:
        raise broken(f"at most {_MOST_REPORTS} reports are possible")
    return tuple(numbers) if isinstance(value, list) else numbers[0]


_MOST_REPORTS = 1000
_MOST_SAMPLES = 10**15
_REPORTS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _MOST_REPORTS},
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": _MOST_SAMPLES},
            "minItems": 1,
            "maxItems": _MOST_REPORTS,
            "uniqueItems": True,
        },
    ]
}
Reports = Annotated[int | tuple[int, ...], BeforeValidator(_reports), WithJsonSchema(_REPORTS_SCHEMA)]
"""How many reports, or at which samples."""

Seed = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(whole)]


_MOST_OF_NAME = 100
_NAME = "[A-Za-z0-9_][A-Za-z0-9._-]*"


def _name(value: str) -> str:
    if len(value) > _MOST_OF_NAME:
        raise broken(f"a name of at most {_MOST_OF_NAME} characters is needed")
    if not re.fullmatch("[A-Za-z0-9._-]+", value):
        raise broken("a name of letters, digits, '.', '_' and '-' is needed")
    if not re.fullmatch(_NAME, value):
        raise broken("a name that begins with a letter, a digit or '_' is needed")
    return value


_NAME_SCHEMA = {"type": "string", "pattern": f"^{_NAME}$", "maxLength": _MOST_OF_NAME}
Name = Annotated[str, AfterValidator(_name), WithJsonSchema(_NAME_SCHEMA)]
"""What can name a folder and an experiment in MLflow, and stand before the '#' of a sweep's reference."""


_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def _seconds(value: object) -> float:
    """Return a time such as 90s, 20m, 1h30m, or a number of seconds, in seconds."""
    seconds = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and len(value) < 100 and (match := _SPAN.fullmatch(value.replace(" ", ""))):
        hours, minutes, rest = (float(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    if seconds <= 0:
        raise broken("a time such as 90s, 20m or 1h30m is needed")
    if not _LEAST_S <= seconds <= _MOST_S:
        raise broken(f"a time between {_LEAST_S:g} s and 10 years is needed")
    return seconds


_LEAST_S, _MOST_S = 0.1, 10 * 365 * 86_400
_SECONDS_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": _LEAST_S, "maximum": _MOST_S},
        {"type": "string", "pattern": r"^(\d+(\.\d+)?h)? ?(\d+(\.\d+)?m)? ?(\d+(\.\d+)?s)?$"},
    ]
}
Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_SECONDS_SCHEMA)]


def _scalar(value: ParamValue) -> ParamValue:
    if isinstance(value, dict | list):
        raise broken("a single value is needed (several names: one string, with commas)")
    if isinstance(value, str) and len(value) > MOST_OF_SETTING:
        raise broken(f"a text of at most {MOST_OF_SETTING:,} characters is needed")
    return value


_SCALAR_SCHEMA = {"type": ["number", "string", "boolean", "null"], "maxLength": MOST_OF_SETTING}
Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
"""A single value of YAML."""

MOST_ITEMS = 1000
"""Choices of a setting, start points, values of a condition."""
MOST_SETS = 100
"""Columns, shift sets."""


def _shape(value: object) -> str:
    return TEXT if isinstance(value, str) else MAPPING


by_shape = Discriminator(_shape)
"""Chooses between the short form of a value, a text, and its long form, a mapping."""


class HubSource(Section):
    """A model or data set of the Hugging Face hub."""

    hub: Short = Field(description="the repository: org/name")
    config: Short | None = Field(default=None, description="the data set's configuration, if it has several")
    split: Short | None = Field(default=None, description="the data set's split to read")
    revision: Short | None = Field(default=None, description="commit, tag or branch")


SourceEntry = Annotated[Annotated[Address, Tag(TEXT)] | Annotated[HubSource, Tag(MAPPING)], by_shape]
"""A packaged name, hub:org/name or a path; or the mapping with hub."""

DeepSpeedEntry = Annotated[Annotated[Address, Tag(TEXT)] | Annotated[dict[str, Any], Tag(MAPPING)], by_shape]
"""A name, the path of a JSON file, or a configuration of DeepSpeed's."""
