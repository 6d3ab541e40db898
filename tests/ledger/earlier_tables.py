"""Tables of earlier versions, made from new ones."""

from orchestrator.ledger.database import Database


def back_to_version_2(database: Database) -> None:
    """Remove everything that versions 3 and 4 of the tables added."""
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE loratory_requests")
        for column in ("fold", "share", "origin"):
            connection.exec_driver_sql(f"ALTER TABLE loratory_trials DROP COLUMN {column}")
        connection.exec_driver_sql("UPDATE loratory_schema SET version = 2")
