"""Values of a column: which kinds there are, how they are named in messages, and when text is needed."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

_KINDS: Mapping[type, str] = {
    str: "text",
    bool: "booleans",
    int: "integers",
    float: "numbers",
    list: "lists",
    dict: "objects",
    bytes: "bytes",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Columns that the task reads, by the source's own names.

    Attributes:
        text: columns that must hold text.
        needed: columns that must be there, ``text`` among them.
    """

    text: frozenset[str] = field(default_factory=frozenset)
    needed: frozenset[str] = field(default_factory=frozenset)


def table_of(columns: Mapping[str, list[Any]], wanted: Wanted, place: object) -> "datasets.Dataset":
    """Return a data set of plain values, in memory; None is missing.

    A wanted column holds one kind of value. Any other column of several kinds becomes text, as JSON writes it.

    Args:
        columns: values by column; all lists have the same length.
        wanted: the columns that the task reads.
        place: the file, for messages.

    Raises:
        DataError: a wanted column holds several kinds of values, or something else than text where text is needed.
    """
    import datasets
    import pyarrow as pa

    arrays = {name: _array(name, values, wanted, place) for name, values in columns.items()}
    return datasets.Dataset(datasets.table.InMemoryTable(pa.table(arrays)))


def checked_text(rows: "datasets.Dataset", names: Sequence[str], place: object) -> "datasets.Dataset":
    """Return the rows with the named columns as strings; those without any value become missing texts.

    Raises:
        DataError: a column holds something else than text.
    """
    import datasets
    import pyarrow as pa

    for name in names:
        column = rows.data.column(name)
        kind = column.type
        if pa.types.is_string(kind) and isinstance(rows.features[name], datasets.Value):
            continue
        if not (pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            # In order of their rows, although the first is most often in row 1.
            first = next((row for row in range(len(column)) if column[row].is_valid), 0)
            raise DataError(_not_text(name, first, column[first].as_py(), place))
        rows = rows.cast_column(name, datasets.Value("string"))
    return rows


def kind_of(value: object) -> str:
    """Return the kind of a value in the plural: ``integers``, ``dates``."""
    return _KINDS.get(type(value), "dates" if hasattr(value, "isoformat") else f"{type(value).__name__} values")


def _array(name: str, values: list[Any], wanted: Wanted, place: object) -> "pa.Array":
    import pyarrow as pa

    kinds = {kind_of(value) for value in values if value is not None}
    if name in wanted.text and kinds - {"text"}:
        row = next(row for row, value in enumerate(values) if not (value is None or isinstance(value, str)))
        raise DataError(_not_text(name, row, values[row], place))
    several = len(kinds - {"integers"} if "numbers" in kinds else kinds) > 1
    if several and name in wanted.needed:
        raise DataError(_several(name, values, place))
    if several:
        values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    try:
        return pa.array(values, type=pa.string() if name in wanted.text else None)
    except (pa.ArrowException, ValueError, OverflowError) as error:  # UnicodeEncodeError is a ValueError
        if name in wanted.needed:
            raise DataError(f"column {name} of {place} holds values that cannot be kept: {error}") from error
    return pa.array([value if value is None else json.dumps(value) for value in values])


def _not_text(name: str, row: int, value: object, place: object) -> str:
    advice = "" if not isinstance(value, list | dict) else "; put it into a column of its own, as one string a row"
    return f"column {name} of {place} holds {kind_of(value)} (row {row + 1}: {_shown(value)}); text is needed{advice}"


def _several(name: str, values: Sequence[Any], place: object) -> str:
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            first.setdefault(kind_of(value), row)
    told = " and ".join(f"{kind} (row {row + 1}: {_shown(values[row])})" for kind, row in first.items())
    return f"column {name} of {place} holds {told}; write all of its values as one kind"


def _shown(value: object) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
