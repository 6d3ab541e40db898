"""The database of the ledger and of Optuna's studies: open, read, write."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from orchestrator.core.errors import LedgerError, first_line
from orchestrator.ledger import tables
from orchestrator.ledger.connection import WAIT_S, table_creation_lock, wait_for_server
from orchestrator.ledger.database_errors import (
    WRITABLE,
    ReadOnlyLedgerError,
    damaged_error,
    translate_errors,
)
from orchestrator.ledger.home import has_sweeps, home

_ADDED = {2: ("confirms",), 3: ("fold", "share"), 4: ("origin",)}
"""Columns of the trials by the version of the tables that added them."""
_REQUESTS = 4
"""The version of the tables that added the table of requests."""


def default_url() -> str:
    """Return the database's URL: ``LORATORY_DB``, or an SQLite file in ``home()``."""
    return os.environ.get("LORATORY_DB") or f"sqlite:///{home() / 'ledger.db'}"


def connect_args(url: str, wait_s: float) -> dict[str, Any]:
    """Return connection arguments for ``url``: an SQLite writer waits ``wait_s`` seconds for another one."""
    return {"timeout": wait_s} if make_url(url).get_backend_name() == "sqlite" else {}


def open_engine(url: str, wait_s: float) -> Engine:
    """Return an engine for ``url``; the folder of an SQLite file is created.

    Raises:
        LedgerError: the SQLite URL names no file (Optuna's study could not share it), or its folder cannot be created.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if not parsed.database or parsed.database == ":memory:":
        raise LedgerError(f"the ledger needs a database in a file, got {url}")
    folder = Path(parsed.database).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReadOnlyLedgerError(f"the folder {folder} cannot be created: {error.strerror}; {WRITABLE}") from error
    engine = create_engine(url, connect_args=connect_args(url, wait_s))
    tune_sqlite(engine)

    # sqlite3 would start a transaction at its first write; two drivers reading before it would then both fail.
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    @event.listens_for(engine, "connect")
    def manual(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        dbapi_connection.isolation_level = None

    return engine


def tune_sqlite(engine: Engine) -> None:
    """Let readers and one writer work side by side. A kill loses nothing, a power cut at most the last commits."""

    @event.listens_for(engine, "connect")
    def pragmas(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            dbapi_connection.execute(f"PRAGMA {pragma}")


class Database:
    """An open database with its tables, of a checked version.

    Attributes:
        url: the URL as given.
        wait_s: longest wait for another process's transaction, or for a restarted server, in seconds.
        read_only: the reason, in words, for reading from a copy and refusing writes; None: the database is writable.
    """

    def __init__(self, url: str, *, wait_s: float = WAIT_S) -> None:
        """Open ``url``; a read-only SQLite file is copied and read.

        Raises:
            LedgerError: the database cannot be opened, is damaged, or a later version of Loratory wrote it.
        """
        self.url = url
        self.wait_s = wait_s
        self.read_only: str | None = None
        self._copy: TemporaryDirectory[str] | None = None
        try:
            self.engine = open_engine(url, wait_s)
        except ImportError as error:
            raise LedgerError(f"LORATORY_DB needs a driver: {error}; for PostgreSQL, loratory[postgres]") from error
        except ArgumentError as error:
            raise LedgerError(f"LORATORY_DB is not a database URL: {error}") from error
        try:
            self._prepare()
        except (ReadOnlyLedgerError, OSError) as error:
            self._read_copy(error)
        except DatabaseError as error:
            raise LedgerError(f"the ledger at {self.engine.url!r} cannot be opened: {error.orig}") from error
        wait_for_server(self.engine, wait_s)

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection on one consistent view."""
        with (
            translate_errors(self.engine, sqlite_file(self.url)),
            self.engine.connect() as connection,
            connection.execution_options(read_only=True).begin(),
        ):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in one transaction: committed at the end, rolled back by an exception.

        Raises:
            LedgerError: the database is read-only.
            SuspendedError: the disk is full, another process holds the lock too long, or the server does not answer.
        """
        if self.read_only is not None:
            raise ReadOnlyLedgerError(self.read_only)
        with translate_errors(self.engine), self.engine.begin() as connection:
            yield connection

    def damage(self) -> str | None:
        """Check an SQLite file and return its damage in words; None if it is whole."""
        if self.engine.dialect.name != "sqlite":
            return None
        with self.read() as connection:
            result = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        return None if result == "ok" else str(damaged_error(str(sqlite_file(self.url)), result))

    def _prepare(self) -> None:
        """Create missing tables, and check the version.

        The first connection to a new SQLite file writes to it, so it also happens under the lock.
        """
        file = sqlite_file(self.url)
        if file is not None and file.exists() and file.stat().st_size == 0 and has_sweeps(file.parent):
            raise damaged_error(str(file), "it is empty, but its folder holds sweeps")
        version = self._stored_version() if file is None or _is_made(file) else None
        if version is None:
            with table_creation_lock(self.engine, self.wait_s):
                self._create()
            version = self._stored_version()
        if version is not None and version < tables.SCHEMA_VERSION:
            with table_creation_lock(self.engine, self.wait_s):
                self._migrate()
        if version is not None and version > tables.SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger at {self.engine.url!r} has schema {version}, of a later version of Loratory; this one "
                f"knows schemas up to {tables.SCHEMA_VERSION}: upgrade it, or set LORATORY_HOME to another folder"
            )
        self._require_tables()

    def _stored_version(self) -> int | None:
        with self.read() as connection:
            return _version(connection)

    def _create(self) -> None:
        """Create the tables and store their version in one transaction, unless another process just did."""
        with self.write() as connection:
            if _version(connection) is not None:
                return
            tables.metadata.create_all(connection)
            connection.execute(insert(tables.schema).values(version=tables.SCHEMA_VERSION))

    def _migrate(self) -> None:
        """Change older tables to the newest version in one transaction, unless another process just did.

        Raises:
            LedgerError: the database's user may not change the tables.
        """
        try:
            with self.write() as connection:
                version = _version(connection)
                for added, columns in _ADDED.items():
                    if version is None or version >= added:
                        continue
                    for name in columns:
                        kind = tables.trials.c[name].type.compile(self.engine.dialect)
                        connection.exec_driver_sql(f"ALTER TABLE {tables.trials.name} ADD COLUMN {name} {kind}")
                    if added == _REQUESTS:
                        tables.requests.create(connection)
                    connection.execute(update(tables.schema).values(version=added))
        except DatabaseError as error:
            raise LedgerError(
                f"the ledger at {self.engine.url!r} has tables of an earlier version, which this user cannot change: "
                f"{first_line(error.orig)}; let the owner of the tables open the ledger once, for example "
                "with the command status"
            ) from error

    def _require_tables(self) -> None:
        with self.read() as connection:
            missing = sorted(tables.metadata.tables.keys() - set(inspect(connection).get_table_names()))
        if missing:
            raise damaged_error(str(sqlite_file(self.url) or self.engine.url), f"the table {missing[0]} is missing")

    def _read_copy(self, error: Exception) -> None:
        """Open a copy of a read-only SQLite file: SQLite writes beside a file even to read it."""
        file = sqlite_file(self.url)
        reason = error if isinstance(error, ReadOnlyLedgerError) else f"{file} cannot be written: {error}; {WRITABLE}"
        if file is None or not os.access(file, os.R_OK):
            raise ReadOnlyLedgerError(str(reason)) from error
        self.engine.dispose()
        self._copy = TemporaryDirectory(prefix="loratory-")
        copy = Path(self._copy.name) / file.name
        _copy_database(file, copy)
        self.engine = open_engine(f"sqlite:///{copy}", self.wait_s)
        version = self._stored_version()
        if version is None:
            raise damaged_error(str(file), "it holds no tables of Loratory")
        if version < tables.SCHEMA_VERSION:
            self._migrate()
        self._require_tables()
        self.read_only = str(reason)


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite URL; None for another database."""
    parsed = make_url(url)
    named = parsed.get_backend_name() == "sqlite" and parsed.database
    return Path(parsed.database).absolute() if named and parsed.database else None


def _copy_database(file: Path, copy: Path) -> None:
    """Copy an SQLite file with the commits of its log to another folder.

    SQLite copies a file that a connection of any process has open; a plain ``open`` would drop this process's locks,
    see ``_is_made``. It cannot open the file if it would have to write beside it; then no connection exists.
    """
    try:
        with (
            closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error:  # a damage is named when the copy is opened
        for name in (file.name, f"{file.name}-wal"):
            if (file.parent / name).exists():
                shutil.copyfile(file.parent / name, copy.parent / name)


def _is_made(file: Path) -> bool:
    """Return whether an SQLite file is in WAL mode; a connection that may write to another file would change it.

    SQLite itself reads the mode. A plain ``open`` and ``close`` of the file would drop the locks of all connections of
    this process (https://sqlite.org/howtocorrupt.html, section 2.2): the next command in another process would then
    take itself for the last reader and delete the log with this process's commits.
    """
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            mode: tuple[str] = connection.execute("PRAGMA journal_mode").fetchone()
    except sqlite3.OperationalError:
        return True  # a file or folder without permissions; the next connection says so
    except sqlite3.DatabaseError:
        return False
    return mode[0] == "wal"


def _version(connection: Connection) -> int | None:
    """Return the version of the tables; None without tables."""
    made = inspect(connection).has_table(tables.schema.name)
    return connection.scalar(select(tables.schema.c.version)) if made else None
