"""Reads large CSV, TSV and JSON Lines files in parts of plain values."""

import codecs
import csv
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.tables.content import read_text
from orchestrator.assets.tables.delimited import (
    DELIMITERS,
    EXCEL_DELIMITER,
    INTEGER,
    column_names,
    first_that_reads,
    records,
)
from orchestrator.assets.tables.json_rows import json_lines
from orchestrator.assets.tables.values import TaskColumns

if TYPE_CHECKING:
    from _csv import _QuotingType

Columns = dict[str, list[Any]]
"""Values by column name; all lists have the same length."""
_PART = 500
_HEADER_LINES = 100
"""First lines with the whole header: a quoted name may have line breaks."""
_OTHER_ENCODINGS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def json_columns(path: Path) -> Callable[[], Iterator[Columns]] | None:
    """Return a function that reads JSON Lines in parts; None for a list, one object, or an encoding other than UTF-8.

    A key missing in a row is a missing value.
    """
    first_lines = [*itertools.islice(filter(str.strip, _lines(path, "\n")), 2)] if _is_utf8(path) else []
    if len(first_lines) < 2 or not _is_object(first_lines[0]):
        return None

    def read() -> Iterator[Columns]:
        rows = json_lines(path, _lines(path, "\n"))
        names: dict[str, None] = {}  # of all rows so far, so that a part of empty objects has columns too
        while part := [*itertools.islice(rows, _PART)]:
            while not names and not any(part) and (row := next(rows, None)) is not None:
                part.append(row)  # empty objects have no column to count them by
            names |= dict.fromkeys(name for row in part for name in row)
            yield {name: [row.get(name) for row in part] for name in names}

    return read


def csv_columns(path: Path, task: TaskColumns) -> Callable[[], Iterator[Columns]] | None:
    """Return a function that reads CSV or TSV in parts; None for an encoding other than UTF-8, or JSON.

    Raises:
        DataError: the file is not a valid table.
    """
    if not _is_utf8(path):
        return None
    start = next(_lines(path, ""), "")
    if start.lstrip("[ \r\n")[:1] == "{":
        return None
    excel = EXCEL_DELIMITER.match(start)
    skipped = 1 if excel else 0

    def rows(delimiter: str, quoting: "_QuotingType") -> Iterator[list[str]]:
        return records(path, itertools.islice(_lines(path, ""), skipped, None), delimiter, quoting)

    def checked(delimiter: str, quoting: "_QuotingType") -> tuple[str, "_QuotingType", list[str], set[int]]:
        return delimiter, quoting, *_header_and_integers(rows(delimiter, quoting))

    if excel:
        found = checked(excel[1], csv.QUOTE_MINIMAL)
    else:
        first_lines = "".join(itertools.islice(_lines(path, ""), _HEADER_LINES))
        found = first_that_reads(first_lines, DELIMITERS[path.suffix.lower()], checked)
    delimiter, quoting, cells, integers = found
    names = column_names(path, cells, task)
    whole = {place for place in integers if names[place] not in task.text}

    def read() -> Iterator[Columns]:
        body = itertools.islice(rows(delimiter, quoting), 1, None)
        while part := [*itertools.islice(body, _PART)]:
            yield {name: _values(part, place, whole=place in whole) for place, name in enumerate(names)}

    return read


def _header_and_integers(rows: Iterator[list[str]]) -> tuple[list[str], set[int]]:
    """Return the header, and the places of the columns whose cells are all plain integers or empty."""
    header = next(rows, [])
    integers, filled = {*range(len(header))}, set[int]()
    for cells in rows:
        for place in [*integers]:
            if cells[place]:
                filled.add(place)
                if not INTEGER.fullmatch(cells[place]):
                    integers.remove(place)
    return header, integers & filled


def _values(rows: list[list[str]], place: int, *, whole: bool) -> list[Any]:
    cells = (row[place] or None for row in rows)
    return [None if cell is None else int(cell) for cell in cells] if whole else [*cells]


def _lines(path: Path, newline: str) -> Iterator[str]:
    """Yield the lines of a file in UTF-8.

    Raises:
        DataError: a line is not UTF-8, or contains a zero byte; the message names it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            for line in file:
                if "\0" in line:
                    read_text(path, path.suffix[1:].upper())  # raises, and names the line
                yield line
    except UnicodeDecodeError:
        read_text(path, path.suffix[1:].upper())
        raise


def _is_utf8(path: Path) -> bool:
    with path.open("rb") as file:
        return not file.read(4).startswith(_OTHER_ENCODINGS)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
