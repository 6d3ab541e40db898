"""Find out what a local file is, and read it with the reader of its format."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.delimited import read_delimited
from orchestrator.assets.tables.json_rows import read_json
from orchestrator.assets.tables.parquet import read_parquet
from orchestrator.assets.tables.values import Wanted
from orchestrator.core.errors import AssetError, DataError

if TYPE_CHECKING:
    import datasets

FORMATS: Mapping[str, tuple[str, "Callable[[Path, Wanted], datasets.Dataset]"]] = {
    ".csv": ("CSV", read_delimited),
    ".tsv": ("TSV", read_delimited),
    ".json": ("JSON", read_json),
    ".jsonl": ("JSON lines", read_json),
    ".parquet": ("Parquet", read_parquet),
}
"""Name and reader by a file's ending."""

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
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF document",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML document",
    b"version https://git-lfs": "a Git LFS pointer (get the file with `git lfs pull`)",
}
"""What files that are mistaken for tables start with, in lower case where it is text."""


def read_file(path: Path, wanted: Wanted) -> "datasets.Dataset":
    """Return the rows of a local file, in memory, under its own column names.

    Args:
        path: the file; its ending says its format.
        wanted: the columns that the task reads, by the file's own names.

    Raises:
        AssetError: there is no such file.
        DataError: the file is not what its ending says, holds no rows, or a wanted column holds the wrong values.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it that ends in {', '.join(FORMATS)}")
    if not path.is_file():
        raise AssetError(f"there is no data file {path}")
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path.name}: a file that ends in {', '.join(FORMATS)} is needed, got {path.suffix!r}")
    name, read = FORMATS[path.suffix.lower()]
    check_start(path, name)
    rows = read(path, wanted)
    if len(rows) == 0:
        raise DataError(f"{path} holds no rows, only column names: {', '.join(rows.column_names)}")
    return rows


def check_start(path: Path, name: str) -> None:
    """Raise ``DataError`` if a file is empty, or if its first bytes say that it is not of the format ``name``.

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
    if start.startswith(b"PAR1") and name == "Parquet":
        return
    seen = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = next((what for begin, what in _STARTS.items() if start.startswith(begin) or seen.startswith(begin)), None)
    if found is not None:
        remedy = "save the table as Parquet" if name == "Parquet" else f"save the table as {name} in UTF-8"
        raise DataError(f"{path} is {found}, not {name}; {remedy}, or give the file its own ending")
    if name == "Parquet":
        raise DataError(f"{path} is not a Parquet file: it starts with {start[:8]!r}; save the table as Parquet")
