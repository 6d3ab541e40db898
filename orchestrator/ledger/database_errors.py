"""Translate database errors into ours: damaged, read-only, disk full, locked, no answer."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from orchestrator.core.errors import LedgerError, LoratoryError, SuspendedError, first_line

WRITABLE = "set LORATORY_HOME to a writable folder"

_PRIMARY = 0xFF  # SQLite's extended codes hold the primary one in their lowest byte
_UNREADABLE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


class ReadOnlyLedgerError(LedgerError):
    """The ledger cannot be written."""


@contextmanager
def translate_errors(engine: Engine, file: Path | None = None) -> Iterator[None]:
    """Raise database errors as ours, with a remedy; let other errors through.

    Messages name ``file``; None: the engine's own file.
    """
    try:
        yield
    except DBAPIError as error:
        ours = translate(error, engine, file)
        if ours is None:
            raise
        raise ours from error


def translate(error: DBAPIError, engine: Engine, file: Path | None = None) -> LoratoryError | None:
    """Return our error for a database error; None if its cause is not the state of the database."""
    if isinstance(error, IntegrityError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        return _translate_sqlite(error.orig, str(file or engine.url.database))
    if error.connection_invalidated or isinstance(error.orig, engine.dialect.loaded_dbapi.OperationalError):
        return SuspendedError(f"the ledger at {engine.url!r} does not answer: {first_line(error.orig)}")
    return None


def damaged_error(file: str, why: str) -> LedgerError:
    """Return the error for an unusable ledger file, with the remedy."""
    return LedgerError(
        f"the ledger {file} is damaged and cannot be opened: {why}. Restore a backup, or move it away: "
        "the next sweep creates a new one, and the files in sweeps/ stay"
    )


def disk_full_error(file: str, why: str) -> SuspendedError:
    """Return the error for a full disk, with the remedy."""
    return SuspendedError(f"the ledger {file} cannot be written: {why}. Free some space on {Path(file).parent}")


def _translate_sqlite(error: sqlite3.Error, file: str) -> LoratoryError | None:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _UNREADABLE:
        return damaged_error(file, str(error))
    if code in _READ_ONLY:
        return ReadOnlyLedgerError(f"the ledger {file} cannot be written: {error}; {WRITABLE}")
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return disk_full_error(file, str(error))
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return SuspendedError(f"the ledger {file} is still locked by another process; end that process")
    if str(error).startswith(("no such table", "no such column")):
        return damaged_error(file, str(error))
    return None
