"""Types of values shared by several sections. An error states the broken rule; ``messages`` adds the value."""

import json
import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import MOST_OF_SETTING

_T = TypeVar("_T")
TEXT, NUMBER, MAPPING, LIST = "(text)", "(number)", "(mapping)", "(list)"
"""Tags of the forms of a value. The parentheses distinguish them from keys in pydantic's error locations."""


class Section(BaseModel):
    """A section of the sweep file: rejects unknown keys and converts no types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def rule_error(rule: str) -> PydanticCustomError:
    """Return the pydantic error for a broken rule; ``messages`` adds ``got`` and the value."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def as_integer(value: _T) -> _T | int:
    """Return a float without a fraction as int (3.0e7 → 30000000), and any other value unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Rows = Annotated[int, Field(ge=1, le=10**12), BeforeValidator(as_integer)]
"""Number of rows, >= 1."""
Natural = Annotated[int, Field(ge=0, le=10**12), BeforeValidator(as_integer)]
"""Number of rows, >= 0."""
Tokens = Annotated[int, Field(ge=1, le=10**15), BeforeValidator(as_integer)]
Trials = Annotated[int, Field(ge=1, le=10**6), BeforeValidator(as_integer)]
"""Number of trials, or a number with the same limit."""
Threads = Annotated[int, Field(ge=1, le=1024), BeforeValidator(as_integer)]
"""Number of threads, processes, slots or folders, limited by one machine."""

Short = Annotated[str, Field(max_length=256)]
"""A name in an external system."""
Address = Annotated[str, Field(max_length=4096)]
"""A path, an address or a packaged name."""
Prose = Annotated[str, Field(max_length=5000)]
"""A description. MLflow stores up to 8,000 characters in a note."""


def _reports(value: object) -> int | tuple[int, ...]:
    """Return a number of reports, or the training samples of each report."""
    numbers: list[Any] = [as_integer(one) for one in (value if isinstance(value, list) else [value])]
    if not numbers or any(type(one) is not int or one < 1 for one in numbers):
        raise rule_error("a number of reports >= 1, or a list of samples >= 1, is needed")
    if isinstance(value, list) and (len(numbers) > _MAX_REPORTS or max(numbers) > _MAX_SAMPLES):
        raise rule_error(f"at most {_MAX_REPORTS} reports, at {_MAX_SAMPLES:,} samples or before, are possible")
    if sorted(set(numbers)) != numbers:
        raise rule_error("samples in ascending order without duplicates are needed")
    if not isinstance(value, list) and numbers[0] > _MAX_REPORTS:
        raise rule_error(f"at most {_MAX_REPORTS} reports are possible")
    return tuple(numbers) if isinstance(value, list) else numbers[0]


_MAX_REPORTS = 1000
_MAX_SAMPLES = 10**15
_REPORTS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _MAX_REPORTS},
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": _MAX_SAMPLES},
            "minItems": 1,
            "maxItems": _MAX_REPORTS,
            "uniqueItems": True,
        },
    ]
}
Reports = Annotated[int | tuple[int, ...], BeforeValidator(_reports), WithJsonSchema(_REPORTS_SCHEMA)]
"""Number of reports, or the training samples of each report."""

Seed = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(as_integer)]


_MAX_NAME = 100
_NAME = "[A-Za-z0-9_][A-Za-z0-9._-]*"


def _name(value: str) -> str:
    if len(value) > _MAX_NAME:
        raise rule_error(f"a name of at most {_MAX_NAME} characters is needed")
    if not re.fullmatch("[A-Za-z0-9._-]+", value):
        raise rule_error("a name of letters, digits, '.', '_' and '-' is needed")
    if not re.fullmatch(_NAME, value):
        raise rule_error("a name that begins with a letter, a digit or '_' is needed")
    return value


_NAME_SCHEMA = {"type": "string", "pattern": f"^{_NAME}$", "maxLength": _MAX_NAME}
Name = Annotated[str, AfterValidator(_name), WithJsonSchema(_NAME_SCHEMA)]
"""A name valid for a folder, an MLflow experiment, and a sweep reference ``name#n``."""


_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def seconds_of(value: object) -> float:
    """Return the seconds of a duration such as 90s, 20m, 1h30m, or of a plain number.

    Raises:
        PydanticCustomError: the value is no duration from 0.1 s to 10 years.
    """
    seconds = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and len(value) < 100 and (match := _SPAN.fullmatch(value.replace(" ", ""))):
        hours, minutes, rest = (float(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    if seconds <= 0:
        raise rule_error("a time such as 90s, 20m or 1h30m is needed")
    if not _LEAST_S <= seconds <= _MAX_S:
        raise rule_error(f"a time between {_LEAST_S:g} s and 10 years is needed")
    return seconds


_LEAST_S, _MAX_S = 0.1, 10 * 365 * 86_400
_SECONDS_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": _LEAST_S, "maximum": _MAX_S},
        {"type": "string", "pattern": r"^(\d+(\.\d+)?h)? ?(\d+(\.\d+)?m)? ?(\d+(\.\d+)?s)?$"},
    ]
}
Seconds = Annotated[float, BeforeValidator(seconds_of), WithJsonSchema(_SECONDS_SCHEMA)]


def _scalar(value: ParamValue) -> ParamValue:
    if isinstance(value, dict | list):
        raise rule_error("a single value is needed (write several names as one string, with commas)")
    if isinstance(value, str) and len(value) > MOST_OF_SETTING:
        raise rule_error(f"a text of at most {MOST_OF_SETTING:,} characters is needed")
    return value


_SCALAR_SCHEMA = {"type": ["number", "string", "boolean", "null"], "maxLength": MOST_OF_SETTING}
Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
"""A YAML value other than a list or mapping."""


def _option(value: object) -> object:
    if len(json.dumps(value, default=str)) > MOST_OF_SETTING:
        raise rule_error(f"at most {MOST_OF_SETTING:,} characters are possible")
    if not _is_json(value):
        raise rule_error("a number, a text, true, false, a list or a mapping of texts to them is needed")
    return value


def _is_json(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


OptionValue = Annotated[Any, AfterValidator(_option), WithJsonSchema({})]
"""A value of a method's option: a YAML value, a list or a mapping."""

MAX_ITEMS = 1000
"""Limit of the choices of a setting, the start points, and the values of a condition."""
MAX_SETS = 100
"""Limit of the columns and of the shift sets."""


def _shape(value: object) -> str:
    return TEXT if isinstance(value, str) else MAPPING


def _shape_of_three(value: object) -> str:
    return LIST if isinstance(value, list) else _shape(value)


by_shape = Discriminator(_shape)
"""Discriminates the short form of a value (text) from its long form (mapping)."""


class HubSource(Section):
    """A model or data set on the Hugging Face hub."""

    hub: Short = Field(description="the repository: org/name")
    config: Short | None = Field(default=None, description="the data set's configuration, if it has several")
    split: Short | None = Field(default=None, description="the data set's split to read")
    revision: Short | None = Field(default=None, description="commit, tag or branch")


class TorchHubSource(Section):
    """A model of PyTorch Hub. Its hubconf.py is code that runs on this machine."""

    torchhub: Address = Field(description="OWNER/NAME:ENTRY, OWNER/NAME:REF:ENTRY or FOLDER:ENTRY")
    trust: bool = Field(default=False, description="true: hubconf.py of this repository may run, once")


_TORCHHUB = "(torchhub)"


def _model_shape(value: object) -> str:
    return _TORCHHUB if isinstance(value, dict) and "torchhub" in value else _shape(value)


ModelEntry = Annotated[
    Annotated[Address, Tag(TEXT)] | Annotated[HubSource, Tag(MAPPING)] | Annotated[TorchHubSource, Tag(_TORCHHUB)],
    Discriminator(_model_shape),
]
"""A packaged name, ``hub:org/name``, ``kaggle:…`` or a path; or a mapping with ``hub`` or ``torchhub``."""

DataEntry = Annotated[
    Annotated[Address, Tag(TEXT)]
    | Annotated[HubSource, Tag(MAPPING)]
    | Annotated[Annotated[list[Address], Field(min_length=1, max_length=MAX_ITEMS)], Tag(LIST)],
    Discriminator(_shape_of_three),
]
"""A packaged name, ``hub:org/name``, a path, pattern or query; a mapping with ``hub``; a list of paths and patterns."""

DeepSpeedEntry = Annotated[Annotated[Address, Tag(TEXT)] | Annotated[dict[str, Any], Tag(MAPPING)], by_shape]
"""A name, the path of a JSON file, or a DeepSpeed configuration."""
