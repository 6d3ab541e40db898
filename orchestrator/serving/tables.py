"""Reads files of rows to predict, and writes them back with columns of answers.

``assets.tables`` reads training data and has other rules, so it is not used here: it skips blank lines, converts
values, and refuses rows with missing cells. Here each row of the input must appear unchanged in the output.
"""

import csv
import io
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.tables import FORMATS, check_start, read_text
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

EXTENSIONS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
TEXT = "text"
_LAST = "\0end of file\0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of a file, with unconverted values.

    Attributes:
        name: the file's name, for messages.
        columns: the names of the columns, in order.
        rows: values by column; a row may lack columns.
        arrow: the Arrow table of a Parquet file, with its types; None for other formats.
    """

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    arrow: "pa.Table | None" = None

    def texts(self, column: str | None = None, option: str = "--column") -> list[str]:
        """Return the text of each row; "" for a row without text.

        Args:
            column: the column of the texts; by default ``text``, or the only column.
            option: names the column, for messages.

        Raises:
            DataError: the column does not exist, or a value is not text.
        """
        name = column or (self.columns[0] if len(self.columns) == 1 else TEXT)
        if name not in self.columns:
            raise DataError(
                f"column {name!r} not found in {self.name} (columns: {', '.join(self.columns)}). "
                f"Name the column of the texts with {option}"
            )
        values = [row.get(name) for row in self.rows]
        for number, value in enumerate(values, start=1):
            if value is not None and not isinstance(value, str):
                raise DataError(
                    f"{self.name}: row {number} of column {name!r} has {type(value).__name__} {value!r:.60}; "
                    "text is needed"
                )
        return [value or "" for value in values]


def read_rows(path: Path) -> Table:
    """Return the rows of a CSV, TSV, JSON, JSON Lines or Parquet file.

    Raises:
        AssetError: the file cannot be opened.
        DataError: the file does not exist, has another format than its extension, or has no rows.
    """
    check_extension(path, "--file")
    if not path.is_file():
        raise DataError(f"--file: file {path} does not exist")
    ending = path.suffix.lower()
    name, _ = FORMATS[ending]
    check_start(path, name)
    if ending == ".parquet":
        table = _parquet(path)
    else:
        text = read_text(path, name)
        table = _delimited(path, text) if ending in {".csv", ".tsv"} else _json(path, text)
    if not table.rows:
        raise DataError(f"{path.name} has no rows")
    return table


def write_rows(path: Path, table: Table, answers: Mapping[str, Sequence[str | float | None]]) -> None:
    """Write a table's rows with the columns of answers appended. An existing file is replaced atomically.

    Answer columns get a prefix if the table already has a column with the name.

    Args:
        path: the output; its extension determines the format.
        table: the rows.
        answers: one value per row, by column name.

    Raises:
        DataError: the file cannot be written.
    """
    prefix = next(start for start in _prefixes() if not any(f"{start}{name}" in table.columns for name in answers))
    named = {f"{prefix}{name}": values for name, values in answers.items()}
    partial = path.with_name(f".{path.name}.partial")
    try:
        _WRITERS[path.suffix.lower()](partial, table, named)
        partial.replace(path)
    except (OSError, ValueError, TypeError) as error:  # pyarrow raises the last two for incompatible values
        if path.parent.is_dir():
            partial.unlink(missing_ok=True)
        raise DataError(f"--output: {path} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def check_extension(path: Path, option: str) -> None:
    """Raise ``DataError`` if the file's extension is not a known format."""
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{option}: one of the extensions {', '.join(EXTENSIONS)} is needed, got {path.name!r}")


def check_output(path: Path) -> None:
    """Raise ``DataError`` if ``write_rows`` cannot write the file. Call it before the predictions."""
    check_extension(path, "--output")
    if path.is_dir():
        raise DataError(f"--output: {path} is a folder; the name of a file is needed")
    if not path.parent.is_dir():
        raise DataError(f"--output: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"--output: the folder {path.parent} is not writable")


def _prefixes() -> Iterator[str]:
    """Yield prefixes for the names of answer columns: none, then ``predicted_``, then numbered ones."""
    yield from ("", "predicted_")
    for number in itertools.count(2):
        yield f"predicted_{number}_"


def _delimited(path: Path, text: str) -> Table:
    csv.field_size_limit(sys.maxsize)  # the module's own limit is 131,072 characters
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    # The sentinel line after the last one ends up in the cell of a quote without an end.
    reader = csv.reader(itertools.chain(io.StringIO(text, newline=""), [_LAST]), delimiter=delimiter)
    columns = _refuse_open_quote(path, next(reader), 1)
    if columns == [_LAST]:
        return Table(name=path.name, columns=(), rows=())
    if len(set(columns)) < len(columns):
        raise DataError(f"{path.name} has duplicate column names: {', '.join(columns)}")
    rows: list[dict[str, str]] = []
    line = reader.line_num + 1
    for cells in reader:
        if _refuse_open_quote(path, cells, line) == [_LAST]:
            break
        line = reader.line_num + 1
        if not cells and len(columns) > 1:
            continue  # with one column, a blank line is a row without text: it gets an answer too
        if len(cells) > len(columns):
            raise DataError(
                f"{path.name}: line {reader.line_num} has {len(cells)} cells and the header {len(columns)}; "
                "put texts with the delimiter between double quotes"
            )
        rows.append(dict(zip(columns, cells, strict=False)))
    return Table(name=path.name, columns=tuple(columns), rows=rows)


def _refuse_open_quote(path: Path, cells: list[str], line: int) -> list[str]:
    """Return the cells; raise ``DataError`` if a quote opened in ``line`` has no end."""
    if cells and cells != [_LAST] and cells[-1].endswith(_LAST):
        raise DataError(f"{path.name}: line {line} opens a quote without an end; write a quote in a quoted cell twice")
    return cells


def _json(path: Path, text: str) -> Table:
    rows: list[Any]
    try:
        whole = json.loads(text) if text.lstrip().startswith("[") else None
    except ValueError as error:
        raise DataError(f"{path.name} is not valid JSON: {error}") from error
    if isinstance(whole, list):
        rows = whole
    else:
        rows = []
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise DataError(f"{path.name}: line {number} is not valid JSON: {error}") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(
                f"{path.name}: row {number} is {type(row).__name__}; an object such as {{{TEXT!r}: …}} is needed"
            )
    return Table(name=path.name, columns=tuple(dict.fromkeys(name for row in rows for name in row)), rows=rows)


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        arrow = pq.read_table(path)
        return Table(name=path.name, columns=tuple(arrow.column_names), rows=arrow.to_pylist(), arrow=arrow)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} cannot be read as Parquet: {error}") from error


def _rows_with_answers(table: Table, answers: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [
        {**row, **{name: values[index] for name, values in answers.items()}} for index, row in enumerate(table.rows)
    ]


def _write_delimited(path: Path, table: Table, answers: Mapping[str, Sequence[Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*table.columns, *answers], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(_rows_with_answers(table, answers))


def _write_tabs(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    _write_delimited(path, table, answers, "\t")


def _write_lines(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False, default=str) for row in _rows_with_answers(table, answers))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_json(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    text = json.dumps(_rows_with_answers(table, answers), ensure_ascii=False, indent=2, default=str)
    path.write_text(f"{text}\n", encoding="utf-8")


def _write_parquet(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = table.arrow
    if arrow is None:  # each row needs all columns: pyarrow takes the columns from the first row
        arrow = pa.Table.from_pylist([{name: row.get(name) for name in table.columns} for row in table.rows])
    for name, values in answers.items():
        arrow = arrow.append_column(name, pa.array(values))
    pq.write_table(arrow, path)


_WRITERS = {
    ".csv": _write_delimited,
    ".tsv": _write_tabs,
    ".jsonl": _write_lines,
    ".json": _write_json,
    ".parquet": _write_parquet,
}
