"""The requests of users to sweeps. Any process adds them; only the sweep's driver answers them."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, insert, select, update

from orchestrator.core.sweeps.control import Answer, ControlKind, ControlRequest, Limits
from orchestrator.core.system.secrets import redact
from orchestrator.ledger.connection import retry_on_disconnect
from orchestrator.ledger.database import Database
from orchestrator.ledger.driver_store import DriverStore
from orchestrator.ledger.tables import requests


class RequestStore:
    """Requests by sweep. Every method is one transaction."""

    def __init__(self, database: Database, drivers: DriverStore) -> None:
        self._database = database
        self._drivers = drivers

    def all(self, sweep_id: int) -> tuple[ControlRequest, ...]:
        """Return all requests of a sweep in their order."""
        query = select(requests).where(requests.c.sweep_id == sweep_id).order_by(requests.c.id)
        with self._database.read() as connection:
            return tuple(map(_request, connection.execute(query)))

    @retry_on_disconnect
    def unanswered(self, sweep_id: int) -> tuple[ControlRequest, ...]:
        """Return the requests without an answer in their order."""
        mine = (requests.c.sweep_id == sweep_id) & requests.c.answer.is_(None)
        with self._database.read() as connection:
            return tuple(map(_request, connection.execute(select(requests).where(mine).order_by(requests.c.id))))

    def held_since(self, sweep_id: int) -> float:
        """Return when this process took the sweep, in seconds since the epoch; 0 if it does not hold it."""
        return self._drivers.held_since(sweep_id)

    def get(self, request_id: int) -> ControlRequest:
        """Return one request by its id."""
        with self._database.read() as connection:
            return _request(connection.execute(select(requests).where(requests.c.id == request_id)).one())

    def add(self, sweep_id: int, request: ControlRequest) -> ControlRequest:
        """Store a request without an answer, and return it with its id."""
        values = {
            "sweep_id": sweep_id,
            "kind": request.kind,
            "trial": request.trial,
            "params": None if request.params is None else dict(request.params),
            "more": asdict(request.more),
            "requested_by": request.by,
            "reason": None if request.reason is None else redact(request.reason),
            "requested_at": request.at,
        }
        with self._database.write() as connection:
            request_id = int(connection.execute(insert(requests).values(values).returning(requests.c.id)).scalar_one())
        return self.get(request_id)

    @retry_on_disconnect
    def answer(self, sweep_id: int, request: ControlRequest) -> None:
        """Store the answer of an answered request. An earlier answer stays."""
        values = {
            "answer": request.answer,
            "outcome": request.outcome,
            "answered_at": request.answered_at,
            "clone": request.clone,
            "limits": asdict(request.limits),
        }
        mine = (requests.c.id == request.id) & requests.c.answer.is_(None)
        with self._drivers.write_sweep(sweep_id) as connection:
            connection.execute(update(requests).where(mine).values(values))


def _request(row: Row[Any]) -> ControlRequest:
    return ControlRequest(
        id=row.id,
        kind=ControlKind(row.kind),
        by=row.requested_by,
        at=row.requested_at,
        reason=row.reason,
        trial=row.trial,
        params=row.params,
        more=Limits(**(row.more or {})),
        answer=None if row.answer is None else Answer(row.answer),
        outcome=row.outcome,
        answered_at=row.answered_at,
        clone=row.clone,
        limits=Limits(**(row.limits or {})),
    )
