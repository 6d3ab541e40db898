"""Freed pages of an SQLite file are dropped; only a busy file keeps them in silence."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.ledger.stored_secrets import vacuum


def test_vacuum_hides_no_error_but_a_busy_file(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE notes AS SELECT zeroblob(100000) AS text")
        connection.execute("DELETE FROM notes")
        connection.execute("BEGIN IMMEDIATE")
        vacuum(file, wait_s=0.01)
        connection.execute("ROLLBACK")
        assert file.stat().st_size > 100_000
        vacuum(file)
        assert file.stat().st_size < 100_000
    file.write_bytes(b"no database")
    with pytest.raises(sqlite3.DatabaseError):
        vacuum(file)
