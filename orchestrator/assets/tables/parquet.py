"""Reads Parquet, including class names stored by ``datasets``. Columns keep the file's types."""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.values import TaskColumns, cast_text
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


def read_parquet(path: Path, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of a Parquet file.

    Args:
        path: the file.
        task: the columns read by the task.

    Raises:
        DataError: the file is damaged, a text is not UTF-8, or a text column has other values.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path} cannot be read as Parquet: {reason}; write or download it again") from error
    return rows_of(table, path, task)


def rows_of(table: "pa.Table", path: Path, task: TaskColumns, before: int = 0) -> "datasets.Dataset":
    """Return the rows of an Arrow table, with types known to ``datasets``.

    Args:
        table: the content of a file.
        path: the file, for messages.
        task: the columns read by the task.
        before: number of the file's rows before this table, for messages.

    Raises:
        DataError: a name is duplicated, a text is not UTF-8, or a text column has other values.
    """
    import datasets

    duplicates = {name for name in table.column_names if table.column_names.count(name) > 1}
    if duplicates:
        raise DataError(f"{path}: column {min(duplicates)} is duplicated; rename one of them")
    for position, column in enumerate(table.columns):
        plain = _plain(column)
        if not _is_known(plain):
            name = table.column_names[position]
            if name in task.text:
                raise DataError(f"column {name} of {path} has {plain.type} values; text is needed")
            plain = _as_text(plain)
        if plain is not column:
            table = table.set_column(position, table.schema.field(position).with_type(plain.type), plain)
        _check_encoding(plain, table.column_names[position], path, before)
    rows = datasets.Dataset(datasets.table.InMemoryTable(table))
    return cast_text(rows, [name for name in rows.column_names if name in task.text], path)


def _plain(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return a column without dictionary encoding and views; ``datasets`` supports neither."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()) if pa.types.is_binary_view(column.type) else column


def _is_known(column: "pa.ChunkedArray") -> bool:
    """Return whether ``datasets`` supports the type; it does not support maps and UUIDs."""
    import datasets
    import pyarrow as pa

    try:
        datasets.Features.from_arrow_schema(pa.schema([pa.field("column", column.type)]))
    except ValueError:
        return False
    return True


def _as_text(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return a column's values as text, converted with ``str``."""
    import pyarrow as pa

    return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())


def _check_encoding(column: "pa.ChunkedArray", name: str, path: Path, before: int) -> None:
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raw = column.cast(pa.large_binary()).to_pylist()
        row = next(row for row, value in enumerate(raw) if value is not None and not _is_utf8(value))
        where = f"row {before + row + 1}: {raw[row][:40]!r}"
        raise DataError(f"column {name} of {path} has text that is not UTF-8 ({where}); write it in UTF-8") from error


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
