"""Queries on DuckDB, and on PostgreSQL where a server and a driver are installed."""

from pathlib import Path

import duckdb
import pytest
from sqlalchemy import create_engine

from orchestrator.assets.data import read_table
from orchestrator.assets.tables.sql import PASSWORD
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, DataError
from tests.ledger.postgres_server import missing, postgres_server

_ROWS = (
    "SELECT 'text %' || i || ':x' AS body, 'class ' || (i % 2) AS mood, CAST(i / 2.0 AS DECIMAL(10, 1)) AS half, "
    "CASE WHEN i > 3 THEN i END AS late FROM {}"
)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The address of a DuckDB file with 12,000 rows."""
    file = tmp_path / "tickets.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE tickets AS {_ROWS.format('range(1, 12001) numbers(i)')}")
    return f"duckdb:///{file}"


def source(database: str, query: str) -> Source:
    return Source(origin=Origin.SQL, name=f"{database}?query={query}")


def test_rows_of_duckdb(database: str) -> None:
    query = "SELECT * FROM tickets WHERE body LIKE '%:x' ORDER BY half"
    rows = read_table(source(database, query), {"text": "body", "label": "mood"}, ("text", "label"), ("text",))
    assert len(rows) == 12_000
    assert rows[2] == {"text": "text %3:x", "label": "class 1", "half": 1.5, "late": None}
    assert rows[11_999]["late"] == 12_000


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DELETE FROM tickets", "may only read; write a SELECT"),
        ("WITH one AS (SELECT 1) DELETE FROM tickets", "failed: .*read-only"),
        ("SELECT body, body FROM tickets", "returns the column 'body' twice; rename one of them: body AS NAME"),
        ("SELECT nothing FROM tickets", 'failed: Binder Error: Referenced column "nothing" not found'),
        ("SELECT body FROM tickets WHERE FALSE", "returns no rows, only the columns body"),
    ],
)
def test_bad_query_names_the_problem(database: str, query: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(source(database, query))
    assert len(read_table(source(database, "SELECT body FROM tickets"))) == 12_000


def test_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.duckdb").write_text("text,label\na,b\n")
    with pytest.raises(DataError, match=r"rows.duckdb is not a DuckDB database: it starts with b'text,lab'"):
        read_table(source(f"duckdb:///{tmp_path}/rows.duckdb", "SELECT 1 AS one"))


def test_missing_driver_and_server_are_named() -> None:
    with pytest.raises(AssetError, match=r"oracle needs a driver, which is not installed .*oracledb.*Run: pip install"):
        read_table(source("oracle://ann@127.0.0.1/shop", "SELECT 1 AS one"))
    with pytest.raises(AssetError, match=r"needs the package pymysql.* Run: pip install pymysql|cannot be opened"):
        read_table(source("mysql://ann@127.0.0.1:1/shop", "SELECT 1 AS one"))


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_rows_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "of no use where all are trusted")
    with postgres_server() as server:
        address = server.url.replace("+psycopg", "")
        table = f"CREATE TABLE tickets AS {_ROWS.format('generate_series(1, 25) AS numbers(i)')}"
        with create_engine(server.url).begin() as connection:
            connection.exec_driver_sql(table, execution_options={"no_parameters": True})
        query = "SELECT body, half, '12:30'::text AS at FROM tickets WHERE body LIKE '%:x' ORDER BY half"
        rows = read_table(source(address, query), {"text": "body"}, ("text",), ("text",))
        assert rows[2] == {"text": "text %3:x", "half": 1.5, "at": "12:30"}
        for write in ("WITH gone AS (DELETE FROM tickets RETURNING 1) SELECT * FROM gone", "DELETE FROM tickets"):
            with pytest.raises(DataError, match=r"failed|may only read"):
                read_table(source(address, write))
        with pytest.raises(AssetError, match=r'cannot be opened: .*"nouser" does not exist.*LORATORY_SQL_PASSWORD'):
            read_table(source(address.replace("nobody@", "nouser@"), query))
