"""Find and mask the passwords that an earlier version stored in the ledger."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select, update

from orchestrator.core.system.secrets import redacted
from orchestrator.core.system.sqlite_file import primary_code
from orchestrator.ledger.connection import WAIT_S
from orchestrator.ledger.database import Database, sqlite_file
from orchestrator.ledger.tables import decisions, reports, requests, sweeps, trials


def stored_secrets(database: Database, sweep_id: int) -> tuple[str, ...]:
    """Return the columns with secrets in the rows of a sweep, such as ``sweeps.spec_text``, each once."""
    with database.read() as connection:
        columns = [
            f"{table.name.removeprefix('loratory_')}.{name}" for table, name, *_ in _secret_values(connection, sweep_id)
        ]
    return tuple(dict.fromkeys(columns))


def mask_stored_secrets(database: Database, sweep_id: int) -> None:
    """Mask the secrets in the rows of a sweep, and let SQLite forget the old values."""
    with database.write() as connection:
        for table, name, key, masked in [*_secret_values(connection, sweep_id)]:
            connection.execute(update(table).where(*key).values({name: masked}))
    file = sqlite_file(database.url)
    if file is not None:
        vacuum(file, database.wait_s)


def vacuum(file: Path, wait_s: float = WAIT_S) -> None:
    """Rewrite an SQLite file without its freed pages, which keep old values.

    If another process holds the file for over ``wait_s`` seconds, nothing happens: SQLite reuses the pages later.

    Raises:
        sqlite3.Error: the disk is full, or the file is damaged.
    """
    with closing(sqlite3.connect(file, timeout=wait_s)) as connection:
        try:
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                connection.execute(statement)
        except sqlite3.OperationalError as error:
            if primary_code(error) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise


def _secret_values(connection: Connection, sweep_id: int) -> Iterator[tuple[Table, str, list[Any], Any]]:
    """Yield the table, column, row key and masked value of each value with a secret."""
    for table in (sweeps, trials, reports, decisions, requests):
        owner = table.c.id if table is sweeps else table.c.sweep_id
        for row in connection.execute(select(table).where(owner == sweep_id)).mappings():
            key = [column == row[column.name] for column in table.primary_key.columns]
            for name, value in row.items():
                masked = redacted(value)
                if masked != value:
                    yield table, name, key, masked
