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


class UnfitPartsError(Exception):
    """A file has values that are converted for a whole column only."""


class ColumnTypes:
    """The types of the columns of a file that is read in parts; the same rules as ``table_of``."""

    def __init__(self, task: TaskColumns, place: object) -> None:
        """Take the columns of the task, and the file for messages."""
        self._task, self._place, self._rows = task, place, 0
        self._first: dict[str, dict[str, tuple[int, Any]]] = {}
        self._types: dict[str, pa.DataType] = {}
        self._refused: dict[str, Exception] = {}
        self._fits = True

    def add(self, columns: Mapping[str, list[Any]]) -> None:
        """Note the kinds and types of the values of the next rows.

        Raises:
            DataError: a text column has other values.
        """
        for name, values in columns.items():
            first = self._first.setdefault(name, {})
            for row, value in enumerate(values, start=self._rows):
                if value is not None and kind_of(value) not in first:
                    first[kind_of(value)] = (row, value)
            if name in self._task.text and first.keys() - {"text"}:
                row, value = next(found for kind, found in first.items() if kind != "text")
                raise DataError(_not_text(name, row, value, self._place))
            self._add_type(name, values)
        self._rows += len(next(iter(columns.values()), ()))

    def schema(self) -> "pa.Schema | None":
        """Return the schema of all parts; None if types of two parts do not fit together.

        Raises:
            DataError: a required column has several kinds of values, or unsupported ones.
        """
        import pyarrow as pa

        for name in self._first:
            required = name in self._task.required
            if required and self._is_mixed(name):
                raise DataError(_several_kinds(name, self._first[name], self._place))
            if required and name in self._refused:
                error = self._refused[name]
                raise DataError(f"column {name} of {self._place} has unsupported values: {error}") from error
        if not self._fits:
            return None
        return pa.schema({name: self._type(name) for name in self._first})

    def table(self, columns: Mapping[str, list[Any]]) -> "pa.Table":
        """Return some rows with the schema of all rows.

        Raises:
            UnfitPartsError: a value has another form in the type of the whole column.
        """
        import pyarrow as pa

        rows = len(next(iter(columns.values()), ()))
        arrays = {}
        for name in self._first:
            values = columns.get(name, [None] * rows)
            if name in self._refused and not self._is_mixed(name):
                values = [value if value is None else _as_json(value) for value in values]
            elif self._is_mixed(name):
                values = [value if value is None or isinstance(value, str) else _as_json(value) for value in values]
            try:
                arrays[name] = pa.array(values, type=self._type(name))
            except (pa.ArrowException, ValueError, OverflowError) as error:
                raise UnfitPartsError(f"{name}: {error}") from error
        return pa.table(arrays)

    def _add_type(self, name: str, values: list[Any]) -> None:
        import pyarrow as pa

        if name in self._task.text or name in self._refused or self._is_mixed(name):
            return
        try:
            found = pa.array(values).type
        except (pa.ArrowException, ValueError, OverflowError) as error:
            self._refused[name] = error
            return
        parts = [pa.schema({name: kind}) for kind in (self._types.get(name, pa.null()), found)]
        try:
            self._types[name] = pa.unify_schemas(parts, promote_options="permissive").field(name).type
        except pa.ArrowException:
            self._fits = False

    def _is_mixed(self, name: str) -> bool:
        kinds = self._first[name].keys()
        return len(kinds - {"integers"} if "numbers" in kinds else kinds) > 1

    def _type(self, name: str) -> "pa.DataType":
        import pyarrow as pa

        as_text = name in self._task.text or name in self._refused or self._is_mixed(name)
        return pa.string() if as_text else self._types[name]


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


def can_be_text(rows: "datasets.Dataset", name: str) -> bool:
    """Return whether ``cast_text`` accepts a column: it has text, or no values."""
    import pyarrow as pa

    kind = rows.data.column(name).type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


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
        first: dict[str, tuple[int, Any]] = {}
        for row, value in enumerate(values):
            if value is not None:
                first.setdefault(kind_of(value), (row, value))
        raise DataError(_several_kinds(name, first, place))
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


def _several_kinds(name: str, first: Mapping[str, tuple[int, Any]], place: object) -> str:
    kinds = " and ".join(f"{kind} (row {row + 1}: {_format(value)})" for kind, (row, value) in first.items())
    return f"column {name} of {place} has {kinds}; write all of its values as one kind"


def _format(value: object) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
