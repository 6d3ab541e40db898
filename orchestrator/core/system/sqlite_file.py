"""Looks at files that may be SQLite databases without dropping the locks of this process."""

import sqlite3
from contextlib import closing
from pathlib import Path

_START = b"SQLite format 3\0"
_SMALLEST = 512
"""Bytes of the smallest page, and so of the smallest database with content."""


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary result code of an error, without the further bits of SQLite's extended codes."""
    return error.sqlite_errorcode & 0xFF


def is_sqlite(file: Path) -> bool:
    """Return whether a file is an SQLite database; False for an empty, missing or unreadable file.

    SQLite itself looks. A plain ``open`` and ``close`` of a database drops the locks of all connections of this process
    to it (https://sqlite.org/howtocorrupt.html, section 2.2): another process then takes itself for the last reader and
    deletes the log with this process's commits. So call this before you open a file that may be a database.
    """
    if not file.is_file() or file.stat().st_size < _SMALLEST:
        return False
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        # a file that SQLite cannot open is open in no connection of this process
        return primary_code(error) not in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN}
    return True


def first_bytes(file: Path, count: int) -> bytes:
    """Return the first ``count`` bytes of a file, at most 16 of an SQLite database.

    Raises:
        OSError: the file cannot be read.
    """
    if is_sqlite(file):
        return _START[:count]
    with file.open("rb") as stream:
        return stream.read(count)
