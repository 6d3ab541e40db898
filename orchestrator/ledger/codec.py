"""Plain values as strict JSON text. NaN and the infinities, unknown to JSON, become ``{"$float": "nan"}``."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

_TAG = "$float"


def dumps(value: object) -> str:
    """Return ``value`` as JSON. Keys keep their order, and so do the parameters of a trial."""
    return json.dumps(_encode(value), allow_nan=False, ensure_ascii=False)


def loads(text: str) -> object:
    """Return the value written by ``dumps``; tuples come back as lists."""
    value: object = json.loads(text, object_hook=_decode)
    return value


def as_stored(values: Mapping[str, object]) -> dict[str, Any]:
    """Return values in the form read back from the ledger: tuples become lists, keys become text."""
    stored: dict[str, Any] = json.loads(dumps(values), object_hook=_decode)
    return stored


def canonical(value: object) -> str:
    """Return the canonical JSON text of a value: equal values have equal texts, and different values different ones.

    The order of keys does not matter. Floats are rounded to 12 significant digits: 0.30000000000000004 in a grid equals
    0.3.
    """
    return json.dumps(_encode(_rounded(value)), sort_keys=True, allow_nan=False)


def _encode(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return {_TAG: repr(value)}
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_encode(item) for item in value]
    return value


def _decode(item: dict[str, Any]) -> object:
    return float(item[_TAG]) if item.keys() == {_TAG} else item


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(item) for item in value]
    return value


class Json(TypeDecorator[Any]):
    """A text column with one plain value as JSON."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Return the JSON of a value."""
        return dumps(value)

    @override
    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return the value of a JSON text."""
        return None if value is None else loads(value)
