"""Reads CSV and TSV. Cells are text, and an empty cell is a missing value.

A column becomes integers if all of its cells are plain integers (``0``, ``-1``, ``12``; not ``007`` or ``1.0``) and
the task does not need text. Written again, these integers give the same file.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.assets.tables.content import read_text
from orchestrator.assets.tables.values import TaskColumns, table_of
from orchestrator.core.errors import DataError
from orchestrator.core.system.csv_cells import long_cells

if TYPE_CHECKING:
    from _csv import _QuotingType

    import datasets

Found = TypeVar("Found")
DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}
"""Possible delimiters by extension, the usual one first."""
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
EXCEL_DELIMITER = re.compile(r"sep=(.)\r?\n")
"""First line with the delimiter, written by Excel."""


def read_delimited(path: Path, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of a CSV or TSV file.

    Another delimiter than the extension's is used if only this delimiter splits the header, as in semicolon CSV.

    Args:
        path: the file.
        task: the columns read by the task.

    Raises:
        DataError: the file is not a valid table; the message names the line and the remedy.
    """
    suffix = path.suffix.lower()
    text = read_text(path, suffix[1:].upper())
    if text[0] in "{[" and text.lstrip("[ \r\n")[:1] == "{":
        raise DataError(f"{path} contains JSON, not {suffix[1:].upper()}; rename it to .jsonl or .json")
    excel = EXCEL_DELIMITER.match(text)
    header, rows = _read(path, text[excel.end() :], excel[1]) if excel else _sniff(path, text, DELIMITERS[suffix])
    columns = _columns(path, header, rows, task)
    return table_of({name: _convert(cells, task, name) for name, cells in columns.items()}, task, path)


def _sniff(path: Path, text: str, delimiters: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows for the first delimiter with equal numbers of cells in all lines."""
    return first_that_reads(text, delimiters, lambda delimiter, quoting: _read(path, text, delimiter, quoting))


def first_that_reads(start: str, delimiters: str, read: "Callable[[str, _QuotingType], Found]") -> Found:
    """Return the result of ``read`` for the first delimiter without an error.

    Args:
        start: the first line of the file, and possibly more.
        delimiters: the possible ones, the usual one first.
        read: gets a delimiter and its quoting.

    Raises:
        DataError: that of the first delimiter in the header.
    """
    likely = [one for one in delimiters if _header_cells(start, one) > 1] or [delimiters[0]]
    problem: DataError | None = None
    for delimiter in likely:
        try:
            return read(delimiter, csv.QUOTE_MINIMAL)
        except DataError as error:
            problem = problem or error
    if "\t" in likely:  # many TSV files have no quoting: a quote in them is an ordinary character
        try:
            return read("\t", csv.QUOTE_NONE)
        except DataError:
            pass  # the error with quoting is raised below
    assert problem is not None
    raise problem


def _header_cells(text: str, delimiter: str) -> int:
    with long_cells():
        return len(next(csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=delimiter), ()))


def _read(
    path: Path, text: str, delimiter: str, quoting: "_QuotingType" = csv.QUOTE_MINIMAL
) -> tuple[list[str], list[list[str]]]:
    """Return header and rows; see ``records``."""
    header, *rows = [*records(path, io.StringIO(text, newline=""), delimiter, quoting)] or [[]]
    return header, rows


def records(
    path: Path, text: Iterable[str], delimiter: str, quoting: "_QuotingType" = csv.QUOTE_MINIMAL
) -> Iterator[list[str]]:
    """Yield the header, then the cells of each row; empty lines are skipped.

    Raises:
        DataError: a line has more or fewer cells than the header, or a quoted cell does not end.
    """
    lines = csv.reader(text, delimiter=delimiter, strict=True, quoting=quoting)
    header: list[str] = []
    start, where = 1, f"{path} cannot be read as csv: line"
    separated = f"separated by a {_NAMES.get(delimiter, delimiter)}"
    try:
        with long_cells():
            for cells in lines:
                if header and cells and len(cells) != len(header):
                    raise DataError(
                        f"{where} {start} has {len(cells)} cells {separated}, the header has {len(header)}; put text "
                        "with the delimiter or a line break between double quotes"
                    )
                if cells:
                    yield cells
                header, start = header or cells, lines.line_num + 1
    except csv.Error as error:
        problem = "does not end" if "end of data" in str(error) else "is followed by more text"
        raise DataError(
            f'{where} {start}: the quoted cell starting there {problem}; write a quote inside quotes twice: ""'
        ) from error


def _columns(path: Path, header: list[str], rows: list[list[str]], task: TaskColumns) -> dict[str, list[str | None]]:
    """Return the cells by column."""
    names = column_names(path, header, task)
    return {name: [row[position] or None for row in rows] for position, name in enumerate(names)}


def column_names(path: Path, header: list[str], task: TaskColumns) -> list[str]:
    """Return the name of each column. Duplicate and empty names get the column's position.

    Spaces around a name are removed (``text, label``), unless the task's column has them.

    Raises:
        DataError: a column of the task is duplicated.
    """
    header = [name if name in task.required else name.strip() for name in header]
    names: dict[str, None] = {}
    for position, name in enumerate(header):
        if name in names and name in task.required:
            first = header.index(name) + 1
            raise DataError(
                f"{path}: column {name} is duplicated, as columns {first} and {position + 1}; rename one of them"
            )
        names[f"Unnamed: {position}" if not name.strip() else f"{name}.{position}" if name in names else name] = None
    return [*names]


def _convert(cells: list[str | None], task: TaskColumns, name: str) -> list[Any]:
    """Return the cells as integers if all are plain integers and the task does not need text, else unchanged."""
    present = [cell for cell in cells if cell is not None]
    if name in task.text or not present or not all(map(INTEGER.fullmatch, present)):
        return cells
    return [None if cell is None else int(cell) for cell in cells]
