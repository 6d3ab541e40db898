"""CSV and TSV. A file says nothing of types: cells are text as written, and an empty cell is missing.

A column of which every cell is a plain integer (``0``, ``-1``, ``12``; not ``007`` or ``1.0``) holds integers, unless
text is needed: written again, they give the same file.
"""

import csv
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.tables.content import text_of
from orchestrator.assets.tables.values import Wanted, table_of
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets

_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}
"""Characters that may part the cells, the ending's own first."""
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_EXCELS_OWN = re.compile(r"sep=(.)\r?\n")
"""A first line by which Excel states the delimiter."""


def read_delimited(path: Path, wanted: Wanted) -> "datasets.Dataset":
    """Return the rows of a CSV or TSV file.

    Another delimiter than the ending's is taken if the header has several cells by it alone, as in semicolon CSV.

    Raises:
        DataError: the file is no such table; the message names the line and the remedy.
    """
    suffix = path.suffix.lower()
    text = text_of(path, suffix[1:].upper())
    if text[0] in "{[" and text.lstrip("[ \r\n")[:1] == "{":
        raise DataError(f"{path} holds JSON, not {suffix[1:].upper()}; give it the ending .jsonl or .json")
    stated = _EXCELS_OWN.match(text)
    found = _read(path, text[stated.end() :], stated[1]) if stated else _sniffed(path, text, _DELIMITERS[suffix])
    columns = _columns(path, *found, wanted)
    return table_of({name: _typed(cells, wanted, name) for name, cells in columns.items()}, wanted, path)


def _sniffed(path: Path, text: str, delimiters: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows by the first delimiter with which all lines have as many cells as the header."""
    likely = [one for one in delimiters if _header_cells(text, one) > 1] or [delimiters[0]]
    problem: DataError | None = None
    for delimiter in likely:
        try:
            return _read(path, text, delimiter)
        except DataError as error:
            problem = problem or error
    if "\t" in likely:  # many TSV files have no quoting: a quote in them is a sign like any other
        try:
            return _read(path, text, "\t", quoting=csv.QUOTE_NONE)
        except DataError:
            pass  # the problem with quoting is told
    assert problem is not None
    raise problem


def _header_cells(text: str, delimiter: str) -> int:
    with _long_cells():
        return len(next(csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=delimiter), ()))


def _read(
    path: Path,
    text: str,
    delimiter: str,
    quoting: Any = csv.QUOTE_MINIMAL,  # noqa: ANN401  (a constant of csv)
) -> tuple[list[str], list[list[str]]]:
    """Return header and rows; empty lines are skipped.

    Raises:
        DataError: a line has more or fewer cells than the header, or a quoted cell does not end.
    """
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, quoting=quoting)
    header: list[str] = []
    rows: list[list[str]] = []
    start, where = 1, f"{path} cannot be read as csv: line"
    parted = f"separated by a {_NAMES.get(delimiter, delimiter)}"
    try:
        with _long_cells():
            for cells in lines:
                if header and cells and len(cells) != len(header):
                    raise DataError(
                        f"{where} {start} has {len(cells)} cells {parted}, the header has {len(header)}; put text that "
                        "holds the delimiter or a line break between double quotes"
                    )
                if header and cells:
                    rows.append(cells)
                header, start = header or cells, lines.line_num + 1
    except csv.Error as error:
        problem = "does not end" if "end of data" in str(error) else "is followed by more text"
        raise DataError(
            f'{where} {start}: a quoted cell that begins there {problem}; write a quote inside quotes twice: ""'
        ) from error
    return header, rows


def _columns(path: Path, header: list[str], rows: list[list[str]], wanted: Wanted) -> dict[str, list[str | None]]:
    """Return the cells by column; a second column of one name, or one without a name, gets a name by its place.

    Spaces around a name are left out, as after the comma of ``text, label``, unless the task asks for them.
    """
    header = [name if name in wanted.needed else name.strip() for name in header]
    columns: dict[str, list[str | None]] = {}
    for place, name in enumerate(header):
        if name in columns and name in wanted.needed:
            first = header.index(name) + 1
            raise DataError(
                f"{path}: column {name} stands twice, as columns {first} and {place + 1}; rename one of them"
            )
        unique = f"Unnamed: {place}" if not name.strip() else f"{name}.{place}" if name in columns else name
        columns[unique] = [row[place] or None for row in rows]
    return columns


def _typed(cells: list[str | None], wanted: Wanted, name: str) -> list[Any]:
    """Return integers if all cells are plain ones and text is not needed, else the cells."""
    written = [cell for cell in cells if cell is not None]
    if name in wanted.text or not written or not all(map(_INTEGER.fullmatch, written)):
        return cells
    return [None if cell is None else int(cell) for cell in cells]


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let cells have any length; the module's own limit is 131,072 characters."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
