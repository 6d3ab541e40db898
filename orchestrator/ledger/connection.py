"""One process at a time makes the tables of a database, and a server that went away is waited for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from filelock import FileLock, Timeout
from sqlalchemy import Engine, event, func, select
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from orchestrator.core.errors import SuspendedError
from orchestrator.ledger.database_errors import BUSY_TIMEOUT_S, explained

PATIENCE_S = 60.0
"""How long a driver waits for a database server that has answered before."""

_ADVISORY_KEY = 0x4C6F_7261  # "Lora": the number by which our processes know PostgreSQL's advisory lock
_ATTEMPTS = 3

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def making_tables(engine: Engine) -> Iterator[None]:
    """Hold the lock under which tables are made: a file beside an SQLite database, PostgreSQL's advisory lock.

    Raises:
        SuspendedError: another process holds it for too long.
    """
    if engine.dialect.name == "sqlite":
        try:
            with FileLock(f"{engine.url.database}.lock", timeout=BUSY_TIMEOUT_S):
                yield
        except Timeout as error:
            raise SuspendedError(
                f"another process has been making the ledger {engine.url.database} for over {BUSY_TIMEOUT_S:.0f} s; "
                "end that process"
            ) from error
    elif engine.dialect.name == "postgresql":
        with explained(engine), engine.connect() as connection:
            connection.execute(select(func.pg_advisory_lock(_ADVISORY_KEY)))
            try:
                yield
            finally:
                connection.execute(select(func.pg_advisory_unlock(_ADVISORY_KEY)))
    else:
        yield


def wait_for_server(engine: Engine) -> None:
    """Have new connections of ``engine`` tried again for a while: a server that is restarted answers soon.

    Once that was in vain, each connection is tried once, until one succeeds.
    """
    if engine.dialect.name == "sqlite":
        return
    answers = True

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: object, arguments: Any, options: Any) -> Any:  # noqa: ANN401, ARG001
        nonlocal answers
        retrying = Retrying(
            retry=retry_if_exception_type(dialect.loaded_dbapi.OperationalError),
            wait=wait_random_exponential(multiplier=0.1, max=3.0),
            stop=stop_after_delay(PATIENCE_S if answers else 0.0),
            reraise=True,
        )
        try:
            connection = retrying(dialect.connect, *arguments, **options)
        except dialect.loaded_dbapi.OperationalError:
            answers = False
            raise
        answers = True
        return connection


def retry_on_disconnect(method: Callable[P, R]) -> Callable[P, R]:
    """Repeat a transaction whose connection broke; nobody knows whether it was committed, so it must bear that."""

    @wraps(method)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(_ATTEMPTS - 1):
            try:
                return method(*args, **kwargs)
            except SuspendedError as error:
                if not (isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated):
                    raise
        return method(*args, **kwargs)

    return cast("Callable[P, R]", repeated)
