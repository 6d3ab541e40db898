"""Reads the result of a query on a database server or a DuckDB file, through SQLAlchemy and a driver of the user."""

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.assets.tables.values import TaskColumns, table_of
from orchestrator.core.errors import AssetError, DataError
from orchestrator.core.system.secrets import redact
from orchestrator.core.system.sqlite_file import first_bytes

if TYPE_CHECKING:
    import datasets
    from sqlalchemy import URL, CursorResult, Engine

PASSWORD = "LORATORY_SQL_PASSWORD"  # noqa: S105  (the name of a variable)
"""Variable with the password of the database. It stands in no file; the drivers' own sources apply without it."""
_DUCKDB = b"DUCK"
"""Bytes 8 to 11 of a database. Source: duckdb.org/docs/internals/storage."""
_ROWS = 10_000
"""Rows fetched at a time."""
_QUERY = re.compile(r"[?&]query=")
_READS = re.compile(r"(\s|\(|--.*\n|/\*.*?\*/)*(select|with|values|table|from)\b", re.IGNORECASE | re.DOTALL)


class _Driver(NamedTuple):
    """A dialect's driver: SQLAlchemy's name, the module to import, and the package to install."""

    name: str
    module: str
    package: str


_DRIVERS: Mapping[str, _Driver] = {
    "postgresql": _Driver("postgresql+psycopg", "psycopg", "'psycopg[binary]'"),
    "mysql": _Driver("mysql+pymysql", "pymysql", "pymysql"),
    "mariadb": _Driver("mariadb+pymysql", "pymysql", "pymysql"),
    "duckdb": _Driver("duckdb", "duckdb_engine", "duckdb-engine"),
}
"""The driver of each scheme; another one is named in the address: ``postgresql+psycopg2://``."""


def read_sql(address: str, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of a query, in memory. NULL is a missing value, and NUMERIC becomes an integer or a float.

    The transaction reads only where the database supports it, and is never committed.

    Args:
        address: ``postgresql://USER@HOST/NAME?query=SELECT …``, without a password.
        task: the columns read by the task.

    Raises:
        AssetError: the driver is missing, or the database does not answer or refuses the user.
        DataError: the query fails, may write or has no rows, or a column has values of the wrong kind.
    """
    from sqlalchemy import exc

    database, query = query_of(address)
    if _READS.match(query) is None:
        raise DataError(f"{database}: the query {query!r} may only read; write a SELECT")
    _check_file(database)
    engine = _engine(database)
    try:
        try:
            connection = engine.connect()
        except exc.DBAPIError as error:
            hint = f"Check the address, the server and the user; {PASSWORD} or the driver's own file has the password."
            raise AssetError(f"{database} cannot be opened: {_reason(error)}. {hint}") from error
        with connection:
            if engine.dialect.name == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            if engine.dialect.name in {"mysql", "mariadb"}:
                connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
                connection.rollback()  # the setting applies to the next transaction
            try:
                options = {"no_parameters": True, "stream_results": True}  # a % of the query is no place of a parameter
                result = connection.exec_driver_sql(query, execution_options=options)
                return table_of(_columns(result, database, query), task, database)
            except exc.DBAPIError as error:
                raise DataError(f"{database}: the query {query!r} failed: {_reason(error)}") from error
    finally:
        engine.dispose()


def query_of(address: str) -> tuple[str, str]:
    """Return the address of the database, and the query. The query is taken as written."""
    found = _QUERY.search(address)
    assert found is not None, "the specification has checked the address"
    return address[: found.start()], address[found.end() :]


def _check_file(database: str) -> None:
    """Raise ``DataError`` if the file of a DuckDB address is no database of DuckDB."""
    scheme, _, name = database.partition(":///")
    if scheme != "duckdb":
        return
    try:
        start = first_bytes(Path(name), 12)
    except OSError as error:
        raise AssetError(f"{name} cannot be read: {error.strerror}") from error
    if start[8:] != _DUCKDB:
        raise DataError(f"{name} is not a DuckDB database: it starts with {start[:8]!r}; name a file of DuckDB")


def _engine(database: str) -> "Engine":
    """Return an engine of one connection.

    Raises:
        AssetError: the driver is missing, or the address is invalid.
    """
    from sqlalchemy import create_engine, exc, make_url
    from sqlalchemy.pool import NullPool

    try:
        url = make_url(database)
        driver = _DRIVERS.get(url.drivername)
        if driver is not None:
            _require(driver, url.drivername)
            url = url.set(drivername=driver.name)
        return create_engine(_with_password(url), poolclass=NullPool, connect_args=_arguments(url))
    except (exc.NoSuchModuleError, ImportError) as error:  # the first is an ArgumentError too
        scheme = database.partition("://")[0]
        raise AssetError(
            f"data.source: {scheme} needs a driver, which is not installed ({error}). Run: pip install PACKAGE, with "
            "the package of this module (docs.sqlalchemy.org/dialects lists them)"
        ) from error
    except (exc.ArgumentError, ValueError) as error:
        raise AssetError(f"{redact(database)} is not a database URL: {error}") from error


def _require(driver: _Driver, scheme: str) -> None:
    if importlib.util.find_spec(driver.module) is None:
        raise AssetError(
            f"data.source: {scheme} needs the package {driver.package}, which is not installed. "
            f"Run: pip install {driver.package}"
        )


def _with_password(url: "URL") -> "URL":
    password = os.environ.get(PASSWORD)
    return url if password is None or url.host is None else url.set(password=password)


def _arguments(url: "URL") -> dict[str, Any]:
    """Return the driver's arguments: a DuckDB file is opened read-only, and a server has 10 seconds to answer."""
    if url.drivername == "duckdb":
        return {"read_only": True}
    known = url.get_dialect().driver in {"psycopg", "psycopg2", "pymysql"}
    return {"connect_timeout": 10} if known and "connect_timeout" not in url.query else {}


def _columns(result: "CursorResult[Any]", database: str, query: str) -> dict[str, list[Any]]:
    """Return the values by column.

    Raises:
        DataError: there are no columns or no rows, or a name is duplicated.
    """
    if not result.returns_rows:
        raise DataError(f"{database}: the query {query!r} returns no columns; a SELECT is needed")
    names = [*result.keys()]
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"{database}: the query returns the column {twice!r} twice; rename one of them: {twice} AS NAME"
        )
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for rows in result.partitions(_ROWS):
        for name, values in zip(names, zip(*rows, strict=True), strict=True):
            columns[name] += map(_plain, values)
    if not columns[names[0]]:
        raise DataError(f"{database}: the query {query!r} returns no rows, only the columns {', '.join(names)}")
    return columns


def _plain(value: object) -> object:
    """Return a value of a kind known to Arrow and JSON: NUMERIC as a number, UUID as text, binary data as bytes."""
    from decimal import Decimal
    from uuid import UUID

    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, UUID):
        return str(value)
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


def _reason(error: Exception) -> str:
    """Return the database's message in one line, without secrets."""
    text = str(getattr(error, "orig", None) or error)
    return redact(" ".join(text.split())).rstrip(".?")
