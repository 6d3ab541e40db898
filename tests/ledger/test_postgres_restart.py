"""A PostgreSQL server restarted or stopped during a sweep."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, func, select

from orchestrator.core.errors import SuspendedError
from orchestrator.core.sweeps.policy import SamplerName
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.sweeps import open_sweep
from tests.cluster.fake_sweep import Diary
from tests.ledger.earlier_tables import back_to_version_2
from tests.ledger.postgres_server import Server, missing, postgres_server
from tests.search.worlds import coordinator_of, essence, plan_of, run_out

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

PLAN = plan_of(trials=5, sampler=SamplerName.TPE)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as running:
        yield running


class Interrupter(Diary):
    """Stops the server after a number of reports, and starts it again later if asked to."""

    def __init__(self, server: Server, *, again: bool) -> None:
        super().__init__()
        self._server = server
        self._again = again

    def reported(self, trial: TrialRecord, report: Report) -> None:
        super().reported(trial, report)
        if self.reports.total() == 7:
            self._server.stop()
            if self._again:
                threading.Timer(0.5, self._server.start).start()


def drive(server: Server, name: str, *, again: bool, wait_s: float = 60.0) -> Coordinator:
    ledger = Ledger.open(server.url, heartbeat_s=0.2, wait_s=wait_s)
    sweep = open_sweep(ledger, name, {"space": 1}, "")
    with ledger.drivers.hold(sweep.id):
        coordinator = Coordinator(ledger, sweep, PLAN, observers=[Interrupter(server, again=again)])
        run_out(coordinator)
    return coordinator


def test_driver_waits_for_restarted_server(server: Server, tmp_path: Path) -> None:
    coordinator = drive(server, "restarted", again=True)
    expected = coordinator_of(tmp_path, PLAN)
    run_out(expected)
    assert essence(coordinator) == essence(expected)
    ledger = Ledger.open(server.url)
    sweep = ledger.sweeps.find("restarted")
    assert ledger.trials.all(sweep.id) == coordinator.records()
    assert ledger.drivers.live(sweep.id) is None


def test_server_that_stays_away_suspends(server: Server) -> None:
    with pytest.raises(SuspendedError, match=r"the ledger at postgresql\+psycopg://.* does not answer"):
        drive(server, "away", again=False, wait_s=0.5)
    server.start()
    ledger = Ledger.open(server.url)
    sweep = ledger.sweeps.find("away")
    coordinator = Coordinator(ledger, sweep, PLAN)
    assert TrialState.FAIL not in {record.state for record in coordinator.records()}
    run_out(coordinator)
    assert len(coordinator.records()) == 5


def test_broken_connection_is_replaced(server: Server) -> None:
    """The driver reads requests every second; a connection lost during the read must not end it."""
    ledger, other = Ledger.open(server.url), Ledger.open(server.url)

    def cut(connection: Connection, *_: object) -> None:
        backend = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]  # of psycopg
        with other.database.read() as second:
            second.execute(select(func.pg_terminate_backend(backend, 5000)))

    event.listen(ledger.database.engine, "before_cursor_execute", cut, once=True)
    assert ledger.requests.unanswered(1) == ()


def test_tables_of_version_2_are_changed(server: Server) -> None:
    ledger = Ledger.open(server.url)
    sweep = open_sweep(ledger, "earlier", {}, "")
    coordinator = Coordinator(ledger, sweep, PLAN)
    run_out(coordinator)
    back_to_version_2(ledger.database)
    ledger.close()
    again = Ledger.open(server.url)
    assert again.requests.all(sweep.id) == ()
    assert essence(Coordinator(again, sweep, PLAN)) == essence(coordinator)


def test_four_processes_create_the_ledger_once(server: Server) -> None:
    with Ledger.open(server.url).database.write() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")

    def make(number: int) -> int:
        ledger = Ledger.open(server.url)
        return len(Coordinator(ledger, open_sweep(ledger, f"s{number}", {}, ""), PLAN).records())

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(make, range(4))] == [0] * 4
