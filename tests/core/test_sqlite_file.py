"""Databases opened by this process keep their locks, whatever else reads their files."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.assets.code_digest import code_of
from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError, LedgerError
from orchestrator.core.system.sqlite_file import first_bytes, is_sqlite
from orchestrator.ledger.ledger import Ledger
from tests.faults.places import read_only

QUERY = "SELECT text FROM texts"
WRITE = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """An SQLite file in which this process is writing."""
    file = tmp_path / "home" / "ledger.db"
    file.parent.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE texts (text)")
        connection.execute("INSERT INTO texts VALUES ('good')")
        connection.execute("BEGIN IMMEDIATE")
        yield file


def query(file: Path) -> None:
    source = Source(origin=Origin.SQLITE, name=f"sqlite:///{file}?query={QUERY}")
    assert read_table(source)["text"][:] == ["good"]


def query_as_duckdb(file: Path) -> None:
    source = Source(origin=Origin.SQL, name=f"duckdb:///{file}?query={QUERY}")
    with pytest.raises(DataError, match="is not a DuckDB database: it starts with b'SQLite f'"):
        read_table(source)


def digest_of_code(file: Path) -> None:
    code = file.with_name("objective.py")
    code.write_text(f"DATABASE = {file.name!r}")
    assert len(code_of(frozenset({code}))) == 64


def copy_of_ledger(file: Path) -> None:
    with read_only(file.parent), pytest.raises(LedgerError, match="holds no tables of Loratory"):
        Ledger.open(f"sqlite:///{file}")


@pytest.mark.parametrize("use", [query, query_as_duckdb, digest_of_code, copy_of_ledger])
def test_reading_a_database_keeps_its_locks(use: Callable[[Path], None], database: Path) -> None:
    use(database)
    command = [sys.executable, "-c", WRITE, str(database)]
    written = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
    assert "database is locked" in written.stderr


def test_other_files_are_no_databases(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "short": b"a", "text": b"text " * 1000, "start": b"SQLite format"}.items():
        (tmp_path / name).write_bytes(content)
        assert not is_sqlite(tmp_path / name)
        assert first_bytes(tmp_path / name, 8) == content[:8]
    assert not is_sqlite(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        first_bytes(tmp_path / "missing", 8)
