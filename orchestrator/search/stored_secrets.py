"""Passwords that an earlier version stored in the ledger: found, and masked."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

from sqlalchemy import Connection, Table, select, update

from orchestrator.core.secrets import redacted
from orchestrator.search.database import Database
from orchestrator.search.tables import decisions, reports, sweeps, trials


def stored_secrets(database: Database, sweep_id: int) -> tuple[str, ...]:
    """Return where the ledger's rows of a sweep hold secrets, ``sweeps.spec_text`` and the like, each once."""
    with database.read() as connection:
        places = [f"{table.name.removeprefix('loratory_')}.{name}" for table, name, *_ in _found(connection, sweep_id)]
    return tuple(dict.fromkeys(places))


def mask_stored_secrets(database: Database, sweep_id: int) -> None:
    """Mask them, and let SQLite forget what its file held before."""
    with database.write() as connection:
        for table, name, key, masked in [*_found(connection, sweep_id)]:
            connection.execute(update(table).where(*key).values({name: masked}))
    if database.engine.dialect.name == "sqlite":
        # Freed pages keep what stood in them. Another reader may hold the file: its pages are then used up later.
        with closing(database.engine.raw_connection()) as raw, suppress(sqlite3.Error):
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                raw.cursor().execute(statement)


def _found(connection: Connection, sweep_id: int) -> Iterator[tuple[Table, str, list[Any], Any]]:
    """Yield the table, the column, the row's key and the masked value of each value that holds a secret."""
    for table in (sweeps, trials, reports, decisions):
        owner = table.c.id if table is sweeps else table.c.sweep_id
        for row in connection.execute(select(table).where(owner == sweep_id)).mappings():
            key = [column == row[column.name] for column in table.primary_key.columns]
            for name, value in row.items():
                masked = redacted(value)
                if masked != value:
                    yield table, name, key, masked
