"""Checks the format of local files and reads them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.arrow import read_arrow
from orchestrator.assets.tables.conll import read_conll
from orchestrator.assets.tables.delimited import read_delimited
from orchestrator.assets.tables.json_rows import read_json
from orchestrator.assets.tables.large import LARGE_BYTES, read_large
from orchestrator.assets.tables.parquet import read_parquet
from orchestrator.assets.tables.values import TaskColumns
from orchestrator.core.errors import AssetError, DataError

if TYPE_CHECKING:
    import datasets

FORMATS: Mapping[str, tuple[str, "Callable[[Path, TaskColumns], datasets.Dataset]"]] = {
    ".csv": ("CSV", read_delimited),
    ".tsv": ("TSV", read_delimited),
    ".json": ("JSON", read_json),
    ".jsonl": ("JSON lines", read_json),
    ".parquet": ("Parquet", read_parquet),
    ".arrow": ("Arrow", read_arrow),
    ".feather": ("Arrow", read_arrow),
    ".conll": ("CoNLL", read_conll),
}
"""Name and reader of each format, by file extension."""

_STARTS: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive (an Excel file is one)",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"FEA1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF document",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML document",
    b"version https://git-lfs": "a Git LFS pointer (get the file with `git lfs pull`)",
}
"""First bytes of other file formats, in lower case if they are text."""


_BINARY: Mapping[str, tuple[bytes, ...]] = {"Parquet": (b"PAR1",), "Arrow": (b"ARROW1", b"FEA1", b"\xff\xff\xff\xff")}
"""First bytes of the formats without text. Arrow has a file format, a stream format and Feather's first version."""


def read_file(path: Path, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of a local file with its own column names; a large file is mapped from the cache.

    Args:
        path: the file; its extension determines the format.
        task: the columns read by the task, by the file's own names.

    Raises:
        AssetError: the file does not exist.
        DataError: the file has another format or no rows, or a column has values of the wrong kind.
    """
    if not path.is_file():
        raise AssetError(f"data file {path} does not exist")
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path.name}: one of the extensions {', '.join(FORMATS)} is needed, got {path.suffix!r}")
    name, read = FORMATS[path.suffix.lower()]
    check_start(path, name)
    large = read_large(path, task) if path.stat().st_size >= LARGE_BYTES else None
    rows = read(path, task) if large is None else large
    if len(rows) == 0:
        raise DataError(f"{path} has no rows, only column names: {', '.join(rows.column_names)}")
    return rows


def check_start(path: Path, name: str) -> None:
    """Check the first bytes of a file.

    Args:
        path: the file.
        name: the name of the expected format, as in ``FORMATS``.

    Raises:
        AssetError: the file cannot be opened.
        DataError: the file is empty or has another format.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise AssetError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise DataError(f"{path} is empty (0 bytes); a {name} file with rows is needed")
    if start.startswith(_BINARY.get(name, ())):
        return
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    other = next((kind for first, kind in _STARTS.items() if start.startswith(first) or text.startswith(first)), None)
    if other is not None:
        remedy = f"save the table as {name}" if name in _BINARY else f"save the table as {name} in UTF-8"
        raise DataError(f"{path} is {other}, not {name}; {remedy}, or correct the file's extension")
    if name in _BINARY:
        article = "an" if name.startswith("A") else "a"
        raise DataError(f"{path} is not {article} {name} file: it starts with {start[:8]!r}; save the table as {name}")
