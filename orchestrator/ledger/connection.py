"""Wait for the process creating the tables and for a restarted server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from filelock import FileLock, Timeout
from sqlalchemy import Engine, event, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from orchestrator.core.errors import SuspendedError
from orchestrator.ledger.database_errors import translate_errors

WAIT_S = 60.0
"""Default of the longest wait for another process's transaction, or for a restarted server."""

_ADVISORY_KEY = 0x4C6F_7261  # "Lora": the key of our advisory lock in PostgreSQL
_ATTEMPTS = 3

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def table_creation_lock(engine: Engine, wait_s: float) -> Iterator[None]:
    """Hold the lock for creating tables: a file beside an SQLite database, an advisory lock in PostgreSQL.

    Raises:
        SuspendedError: another process holds the file for more than ``wait_s`` seconds.
    """
    if engine.dialect.name == "sqlite":
        try:
            with FileLock(f"{engine.url.database}.lock", timeout=wait_s):
                yield
        except Timeout as error:
            raise SuspendedError(
                f"another process has been making the ledger {engine.url.database} for over {wait_s:g} s; "
                "end that process"
            ) from error
    elif engine.dialect.name == "postgresql":
        with translate_errors(engine), engine.connect() as connection:
            connection.execute(select(func.pg_advisory_lock(_ADVISORY_KEY)))
            try:
                yield
            finally:
                connection.execute(select(func.pg_advisory_unlock(_ADVISORY_KEY)))
    else:
        yield


def wait_for_server(engine: Engine, wait_s: float) -> None:
    """Make ``engine`` retry new connections for ``wait_s`` seconds: a restarted server answers soon.

    After a failure each new connection is tried once, until one succeeds.
    """
    if engine.dialect.name == "sqlite":
        return
    answers = True

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> DBAPIConnection:
        nonlocal answers
        retrying = Retrying(
            retry=retry_if_exception_type(dialect.loaded_dbapi.OperationalError),
            wait=wait_random_exponential(multiplier=0.1, max=3.0),
            stop=stop_after_delay(wait_s if answers else 0.0),
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
    """Repeat a transaction after its connection broke. It may have been committed, so it must be idempotent."""

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
