"""Reads the result of a query on an SQLite database. The database is opened read-only."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.values import TaskColumns, table_of
from orchestrator.core.errors import AssetError, DataError
from orchestrator.core.system.sqlite_file import first_bytes

if TYPE_CHECKING:
    import datasets

_PREFIX = "sqlite:///"
_QUERY = "?query="
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
"""Actions of a query that only reads. Others can create a file beside a database opened read-only."""
_START = b"SQLite format 3\0"


def database_of(address: str) -> tuple[Path, str]:
    """Return the path and the query of ``sqlite:///PATH?query=SELECT …``. The query is taken as written."""
    path, _, query = address.removeprefix(_PREFIX).partition(_QUERY)
    return Path(path).expanduser().absolute(), query


def read_sqlite(address: str, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of a query, in memory. NULL is a missing value.

    Args:
        address: ``sqlite:///PATH?query=SELECT …``.
        task: the columns read by the task.

    Raises:
        AssetError: the database does not exist or cannot be opened.
        DataError: the file is no database or is damaged, the query fails or has no rows, or a column has values of the
            wrong kind.
    """
    path, query = database_of(address)
    _check_database(path)
    uri = f"{path.as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.set_authorizer(_authorise)
            try:
                cursor = connection.execute(query)
                names = [item[0] for item in cursor.description or ()]
                rows = cursor.fetchall()
            except (sqlite3.Error, sqlite3.Warning) as error:
                denied = "; a query may only read: write a SELECT" if "not authorized" in str(error) else ""
                connection.set_authorizer(None)
                reason = f"{error}{denied or _tables(connection)}"
                raise DataError(f"{path}: the query {query!r} failed: {reason}") from error
    except sqlite3.Error as error:
        raise AssetError(f"{path} cannot be opened: {error}") from error
    if not names:
        raise DataError(f"{path}: the query {query!r} returns no columns; a SELECT is needed")
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: the query returns the column {twice!r} twice; rename one of them: {twice} AS NAME")
    if not rows:
        raise DataError(f"{path}: the query {query!r} returns no rows, only the columns {', '.join(names)}")
    return table_of({name: [row[place] for row in rows] for place, name in enumerate(names)}, task, path)


def _authorise(action: int, *_about: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def _check_database(path: Path) -> None:
    if not path.is_file():
        raise AssetError(f"the database {path} does not exist")
    try:
        start = first_bytes(path, len(_START))
    except OSError as error:
        raise AssetError(f"{path} cannot be read: {error.strerror}") from error
    if start != _START:
        content = "is empty (0 bytes)" if not start else f"is not an SQLite database: it starts with {start[:8]!r}"
        raise DataError(f"{path} {content}; name an SQLite database with the table of the query")


def _tables(connection: sqlite3.Connection) -> str:
    """Return the names of the tables and views, as the end of a message; '' if they cannot be read."""
    try:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
        names = [str(row[0]) for row in found]
    except sqlite3.Error:  # a damaged database; the message already says so
        return ""
    return f" (tables: {', '.join(names)})" if names else " (the database has no tables)"
