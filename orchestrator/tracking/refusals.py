"""Tell a store that refuses for good from one that is away, locked or busy."""

import re

from orchestrator.core.errors import LONGEST, TrackingError, first_line
from orchestrator.core.secrets import redact

RETRIED = frozenset({408, 409, 425, 429, 499})
"""Statuses of the client's kind that another try may change: timeouts, conflicts, rate limits."""
RACES = frozenset({"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"})
"""Another process was faster: what exists is found by the next try."""
LASTING = ("readonly database", "out-of-date database schema", "file is not a database")
"""Words of SQL stores that name a state which only a person changes; MLflow reports them as server errors."""


def is_refusal(error: BaseException) -> bool:
    """Return whether a tracking store refused for good, so that the same request gets the same answer.

    True for requests that a server answers with a status 4xx (a value that it does not accept, no permission, a run
    that was deleted), for files and databases that may not be written, and for faults of the code. False for everything
    that may pass.
    """
    if isinstance(error, TrackingError | PermissionError | NotADirectoryError | FileExistsError):
        return True  # MLflow is not installed, or a person has to change something on the disk
    if isinstance(error, TypeError | ValueError | LookupError | AttributeError) and not isinstance(error, OSError):
        return True  # a fault of the code, MLflow's or ours: another try would meet it too
    if any(words in str(error) for words in LASTING):
        return True
    status = _status(error)
    return status is not None and 400 <= status < 500 and status not in RETRIED


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a server answered with, or that MLflow gives the error; None if there is none."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return getattr(getattr(error, "response", None), "status_code", None)
    if error.error_code in RACES:
        return 409
    if error.error_code == "INVALID_STATE":
        return 400
    # A status that MLflow has no name for becomes an internal error; the message holds the number.
    named = re.search(r"failed with error code (\d{3})", str(error))
    return int(named[1]) if named else int(error.get_http_status_code())


def reason(error: BaseException) -> str:
    """Return the first line of an error, shortened and without secrets."""
    return redact(first_line(error))[:LONGEST]
