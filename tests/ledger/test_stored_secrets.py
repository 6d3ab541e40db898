"""Freed pages of an SQLite file are dropped; only a busy file keeps them in silence."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.ledger.stored_secrets import vacuum

SECRET = b"pw-of-an-earlier-version"


def test_vacuum_hides_no_error_but_a_busy_file(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.execute("INSERT INTO notes VALUES (?)", (SECRET.decode(),))
        connection.execute("DELETE FROM notes")
        connection.execute("BEGIN IMMEDIATE")
        vacuum(file, wait_s=0.01)
        connection.execute("ROLLBACK")
        assert SECRET in file.read_bytes()
        vacuum(file)
    assert SECRET not in file.read_bytes()
    file.write_bytes(file.read_bytes()[:100] + b"x" * 8000)
    with pytest.raises(sqlite3.DatabaseError):
        vacuum(file)
