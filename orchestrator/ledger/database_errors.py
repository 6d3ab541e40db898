"""What the errors of a database mean to a person: damaged, read-only, full, locked, or not answering."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from orchestrator.core.errors import LedgerError, LoratoryError, SuspendedError, first_line

BUSY_TIMEOUT_S = 60.0
"""How long a writer waits for another's transaction on SQLite."""

WRITABLE = "set LORATORY_HOME to a folder that can be written"

_PRIMARY = 0xFF  # SQLite's extended codes hold the primary one in their lowest byte
_UNREADABLE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


class ReadOnlyLedgerError(LedgerError):
    """The ledger cannot be written where it is."""


@contextmanager
def explained(engine: Engine, file: Path | None = None) -> Iterator[None]:
    """Raise what went wrong with the database as an error of ours, with a remedy; other errors pass as they are.

    ``file`` is the one to be named, if it is not the engine's own.
    """
    try:
        yield
    except DBAPIError as error:
        found = explain(error, engine, file)
        if found is None:
            raise
        raise found from error


def explain(error: DBAPIError, engine: Engine, file: Path | None = None) -> LoratoryError | None:
    """Return what an error of the database means; None if it says nothing of the database's state."""
    if isinstance(error, IntegrityError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        return _explain_sqlite(error.orig, str(file or engine.url.database))
    if error.connection_invalidated or isinstance(error.orig, engine.dialect.loaded_dbapi.OperationalError):
        return SuspendedError(f"the ledger at {engine.url!r} does not answer: {first_line(error.orig)}")
    return None


def damaged(file: str, why: str) -> LedgerError:
    """Return the error that says that a ledger's file cannot be used, and what to do."""
    return LedgerError(
        f"the ledger {file} is damaged and cannot be opened: {why}. Put a copy of it in its place, or move it away: "
        "the next sweep makes a new one, and the files in sweeps/ stay"
    )


def full(file: str, why: str) -> SuspendedError:
    """Return the error that says that the ledger cannot be written to its end."""
    return SuspendedError(f"the ledger {file} cannot be written: {why}. Free some space on {Path(file).parent}")


def _explain_sqlite(error: sqlite3.Error, file: str) -> LoratoryError | None:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _UNREADABLE:
        return damaged(file, str(error))
    if code in _READ_ONLY:
        return ReadOnlyLedgerError(f"the ledger {file} cannot be written: {error}; {WRITABLE}")
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return full(file, str(error))
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return SuspendedError(
            f"the ledger {file} is locked: another process has held it for over {BUSY_TIMEOUT_S:.0f} s; "
            "end that process"
        )
    if str(error).startswith(("no such table", "no such column")):
        return damaged(file, str(error))
    return None
