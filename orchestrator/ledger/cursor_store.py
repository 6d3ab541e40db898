"""How far the tracker has written each run of a sweep."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, insert, select, update

from orchestrator.ledger.connection import retry_on_disconnect
from orchestrator.ledger.database import Database
from orchestrator.ledger.tables import cursors


class CursorStore:
    """One cursor per run: plain JSON that only its writer reads. The run of the sweep itself has the number None."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, sweep_id: int, number: int | None) -> dict[str, Any]:
        """Return the cursor of a trial's run or of the sweep's run; empty if none was saved."""
        with self._database.read() as connection:
            row = connection.execute(select(cursors.c.data).where(_key(sweep_id, number))).first()
        return {} if row is None else dict(row.data)

    @retry_on_disconnect
    def save(self, sweep_id: int, number: int | None, data: Mapping[str, Any]) -> None:
        """Store a cursor in place of the one before."""
        with self._database.write() as connection:
            changed = connection.execute(update(cursors).where(_key(sweep_id, number)).values(data=data))
            if changed.rowcount == 0:
                connection.execute(insert(cursors).values(sweep_id=sweep_id, scope=_scope(number), data=data))


def _scope(number: int | None) -> str:
    return "sweep" if number is None else str(number)


def _key(sweep_id: int, number: int | None) -> ColumnElement[bool]:
    return and_(cursors.c.sweep_id == sweep_id, cursors.c.scope == _scope(number))
