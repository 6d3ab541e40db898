"""Parquet, with the class names that ``datasets`` stores in it. Columns have the types that the file gives them."""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.values import Wanted, checked_text
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


def read_parquet(path: Path, wanted: Wanted) -> "datasets.Dataset":
    """Return the rows of a Parquet file.

    Raises:
        DataError: the file is damaged, a text is not UTF-8, or a text column holds something else.
    """
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        told = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path} cannot be read as Parquet: {told}; write it again") from error
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(f"{path}: column {min(twice)} stands twice; rename one of them")
    for place, column in enumerate(table.columns):
        plain = _plain(column)
        if not _is_known(plain):
            name = table.column_names[place]
            if name in wanted.text:
                raise DataError(f"column {name} of {path} holds {plain.type} values; text is needed")
            plain = _written(plain)
        if plain is not column:
            table = table.set_column(place, table.schema.field(place).with_type(plain.type), plain)
        _check_encoding(plain, table.column_names[place], path)
    rows = datasets.Dataset(datasets.table.InMemoryTable(table))
    return checked_text(rows, [name for name in rows.column_names if name in wanted.text], path)


def _plain(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return a column without dictionary encoding and views, which ``datasets`` does not know."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()) if pa.types.is_binary_view(column.type) else column


def _is_known(column: "pa.ChunkedArray") -> bool:
    """Return whether ``datasets`` knows the type; it knows no maps and no UUIDs."""
    import datasets
    import pyarrow as pa

    try:
        datasets.Features.from_arrow_schema(pa.schema([pa.field("column", column.type)]))
    except ValueError:
        return False
    return True


def _written(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return a column's values as text, as Python writes them."""
    import pyarrow as pa

    return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())


def _check_encoding(column: "pa.ChunkedArray", name: str, path: Path) -> None:
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raw = column.cast(pa.large_binary()).to_pylist()
        row = next(row for row, value in enumerate(raw) if value is not None and not _is_utf8(value))
        shown = repr(raw[row][:40])
        raise DataError(
            f"column {name} of {path} holds text that is not UTF-8 (row {row + 1}: {shown}); write it in UTF-8"
        ) from error


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
