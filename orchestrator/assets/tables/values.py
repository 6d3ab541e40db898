"""Checks the kinds of values in columns and converts columns to Arrow."""

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
class TaskColumns:
    """Columns read by the task, by the source's own names.

    Attributes:
        text: columns with text.
        required: all required columns, including ``text``.
    """

    text: frozenset[str] = field(default_factory=frozenset)
    required: frozenset[str] = field(default_factory=frozenset)


def table_of(columns: Mapping[str, list[Any]], task: TaskColumns, place: object) -> "datasets.Dataset":
    """Return a data set of plain values, in memory; None is a missing value.

    A required column must have one kind of values. Any other column with several kinds becomes text in JSON notation.

    Args:
        columns: values by column; all lists have the same length.
        task: the columns read by the task.
        place: the file, for messages.

    Raises:
        DataError: a required column has several kinds of values, or a text column has other values.
    """
    import datasets
    import pyarrow as pa

    arrays = {name: _array(name, values, task, place) for name, values in columns.items()}
    return datasets.Dataset(datasets.table.InMemoryTable(pa.table(arrays)))


def cast_text(rows: "datasets.Dataset", names: Sequence[str], place: object) -> "datasets.Dataset":
    """Return the rows with the named columns as strings; columns without values become missing texts.

    Args:
        rows: the data set.
        names: the text columns.
        place: the file or source, for messages.

    Raises:
        DataError: a column has values other than text.
    """
    import datasets
    import pyarrow as pa

    for name in names:
        column = rows.data.column(name)
        kind = column.type
        if pa.types.is_string(kind) and isinstance(rows.features[name], datasets.Value):
            continue
        if not (pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            first = next((row for row in range(len(column)) if column[row].is_valid), 0)
            raise DataError(_not_text(name, first, column[first].as_py(), place))
        rows = rows.cast_column(name, datasets.Value("string"))
    return rows


def kind_of(value: object) -> str:
    """Return the kind of a value, in the plural: ``integers``, ``dates``."""
    return _KINDS.get(type(value), "dates" if hasattr(value, "isoformat") else f"{type(value).__name__} values")


def _array(name: str, values: list[Any], task: TaskColumns, place: object) -> "pa.Array":
    import pyarrow as pa

    kinds = {kind_of(value) for value in values if value is not None}
    if name in task.text and kinds - {"text"}:
        row = next(row for row, value in enumerate(values) if not (value is None or isinstance(value, str)))
        raise DataError(_not_text(name, row, values[row], place))
    several = len(kinds - {"integers"} if "numbers" in kinds else kinds) > 1
    if several and name in task.required:
        raise DataError(_several_kinds(name, values, place))
    if several:
        values = [value if value is None or isinstance(value, str) else _as_json(value) for value in values]
    try:
        return pa.array(values, type=pa.string() if name in task.text else None)
    except (pa.ArrowException, ValueError, OverflowError) as error:  # UnicodeEncodeError is a ValueError
        if name in task.required:
            raise DataError(f"column {name} of {place} has unsupported values: {error}") from error
    return pa.array([value if value is None else _as_json(value) for value in values])


def _as_json(value: object) -> str:
    """Return a value of a column without use as text; JSON has no form for bytes and dates."""
    return json.dumps(value, default=str)


def _not_text(name: str, row: int, value: object, place: object) -> str:
    advice = "" if not isinstance(value, list | dict) else "; write a separate column with one string per row"
    return f"column {name} of {place} has {kind_of(value)} (row {row + 1}: {_format(value)}); text is needed{advice}"


def _several_kinds(name: str, values: Sequence[Any], place: object) -> str:
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            first.setdefault(kind_of(value), row)
    kinds = " and ".join(f"{kind} (row {row + 1}: {_format(values[row])})" for kind, row in first.items())
    return f"column {name} of {place} has {kinds}; write all of its values as one kind"


def _format(value: object) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
