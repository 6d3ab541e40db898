"""Files of rows to predict: read as they are written, and written again with the answers beside them."""

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

from orchestrator.assets.tables import FORMATS, check_start, text_of
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = tuple(FORMATS)
TEXT = "text"
_LAST = "\0end of file\0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of a file; nothing is converted, so that what is written again is what was read.

    Attributes:
        name: the file's name, for messages.
        columns: the names of the columns, in order.
        rows: a value by column; a column that a row lacks is missing in it.
        arrow: the table of a parquet file, which keeps its types; None of other files.
    """

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    arrow: "pa.Table | None" = None

    def texts(self, column: str | None = None) -> list[str]:
        """Return each row's text; "" where the row has none.

        Args:
            column: the column that holds the texts; None: ``text``, or the only one.

        Raises:
            DataError: there is no such column, or a value is no text.
        """
        wanted = column or (self.columns[0] if len(self.columns) == 1 else TEXT)
        if wanted not in self.columns:
            raise DataError(
                f"{self.name} has no column {wanted!r}; it has: {', '.join(self.columns)}. "
                "Name the column of the texts with --column"
            )
        found = [row.get(wanted) for row in self.rows]
        for number, value in enumerate(found, start=1):
            if value is not None and not isinstance(value, str):
                raise DataError(
                    f"{self.name}: row {number} of column {wanted!r} holds {type(value).__name__} {value!r:.60}; "
                    "text is needed"
                )
        return [value or "" for value in found]


def read_rows(path: Path) -> Table:
    """Return the rows of a CSV, TSV, JSON, JSON Lines or parquet file.

    Raises:
        AssetError: the file cannot be opened.
        DataError: there is no such file, it cannot be read as what its name says, or it holds no rows.
    """
    check_ending(path, "--file")
    if not path.is_file():
        raise DataError(f"--file: there is no file {path}")
    ending = path.suffix.lower()
    name, _ = FORMATS[ending]
    check_start(path, name)
    if ending == ".parquet":
        table = _parquet(path)
    else:
        text = text_of(path, name)
        table = _delimited(path, text) if ending in {".csv", ".tsv"} else _json(path, text)
    if not table.rows:
        raise DataError(f"{path.name} holds no rows")
    return table


def write_rows(path: Path, table: Table, answers: Mapping[str, Sequence[str | float | None]]) -> None:
    """Write a table's rows with columns of answers after its own; an existing file is replaced as a whole.

    Raises:
        DataError: the file cannot be written.
    """
    prefix = next(sign for sign in _prefixes() if not any(f"{sign}{name}" in table.columns for name in answers))
    named = {f"{prefix}{name}": values for name, values in answers.items()}
    partial = path.with_name(f".{path.name}.partial")
    try:
        _WRITERS[path.suffix.lower()](partial, table, named)
        partial.replace(path)
    except (OSError, ValueError, TypeError) as error:  # pyarrow's errors of values that do not fit are the latter two
        if path.parent.is_dir():
            partial.unlink(missing_ok=True)
        raise DataError(f"--output: {path} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def check_ending(path: Path, option: str) -> None:
    """Raise ``DataError`` unless the file's name says what it is."""
    if path.suffix.lower() not in ENDINGS:
        raise DataError(f"{option}: a name that ends in {', '.join(ENDINGS)} is needed, got {path.name!r}")


def check_output(path: Path) -> None:
    """Raise ``DataError`` if ``write_rows`` cannot write the file, as far as that is known before the rows are read."""
    check_ending(path, "--output")
    if path.is_dir():
        raise DataError(f"--output: {path} is a folder; the name of a file is needed")
    if not path.parent.is_dir():
        raise DataError(f"--output: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"--output: the folder {path.parent} cannot be written to")


def _prefixes() -> Iterator[str]:
    """Yield what is put before the names of the answers' columns, until the table has none of that name."""
    yield from ("", "predicted_")
    for number in itertools.count(2):
        yield f"predicted_{number}_"


def _delimited(path: Path, text: str) -> Table:
    csv.field_size_limit(sys.maxsize)  # texts may be longer than the module's 131,072 characters
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    # An open quote takes all that follows into one cell, the line after the last one too.
    reader = csv.reader(itertools.chain(io.StringIO(text, newline=""), [_LAST]), delimiter=delimiter)
    columns = _unless_open(path, next(reader), 1)
    if columns == [_LAST]:
        return Table(name=path.name, columns=(), rows=())
    if len(set(columns)) < len(columns):
        raise DataError(f"{path.name} has two columns of one name: {', '.join(columns)}")
    rows: list[dict[str, str]] = []
    line = reader.line_num + 1
    for cells in reader:
        if _unless_open(path, cells, line) == [_LAST]:
            break
        line = reader.line_num + 1
        if not cells and len(columns) > 1:
            continue  # of one column a blank line is a row without a text: answers stay in line with the rows
        if len(cells) > len(columns):
            raise DataError(
                f"{path.name}: line {reader.line_num} has {len(cells)} cells and the header {len(columns)}; "
                "put texts that hold the delimiter between double quotes"
            )
        rows.append(dict(zip(columns, cells, strict=False)))
    return Table(name=path.name, columns=tuple(columns), rows=rows)


def _unless_open(path: Path, cells: list[str], line: int) -> list[str]:
    """Return the cells; raise ``DataError`` if a quote that the line opens is open at the file's end."""
    if cells and cells != [_LAST] and cells[-1].endswith(_LAST):
        raise DataError(
            f"{path.name}: line {line} opens a quote that nothing closes; write a quote in a quoted cell twice"
        )
    return cells


def _json(path: Path, text: str) -> Table:
    rows: list[Any]
    try:
        whole = json.loads(text) if text.lstrip().startswith("[") else None
    except ValueError as error:
        raise DataError(f"{path.name} is no JSON: {error}") from error
    if isinstance(whole, list):
        rows = whole
    else:
        rows = []
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise DataError(f"{path.name}: line {number} is no JSON: {error}") from error
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
        raise DataError(f"{path.name} cannot be read as parquet: {error}") from error


def _beside(table: Table, answers: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [
        {**row, **{name: values[index] for name, values in answers.items()}} for index, row in enumerate(table.rows)
    ]


def _write_delimited(path: Path, table: Table, answers: Mapping[str, Sequence[Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*table.columns, *answers], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(_beside(table, answers))


def _write_tabs(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    _write_delimited(path, table, answers, "\t")


def _write_lines(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False, default=str) for row in _beside(table, answers))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_json(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    text = json.dumps(_beside(table, answers), ensure_ascii=False, indent=2, default=str)
    path.write_text(f"{text}\n", encoding="utf-8")


def _write_parquet(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = table.arrow
    if arrow is None:  # every row with every column: pyarrow takes the columns from the first row
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
