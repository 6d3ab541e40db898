"""Refusals of a tracking store, apart from temporary errors, and of a logged model."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.core.errors import LONGEST, TrackingError, UserError, first_line
from orchestrator.core.system.secrets import redact
from orchestrator.tracking.environment import load_mlflow

RETRIED = frozenset({408, 409, 425, 429, 499})
"""Temporary 4xx statuses: timeouts, conflicts, rate limits."""
RACES = frozenset({"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"})
"""Another process was faster: the next attempt finds its object."""
LASTING = ("readonly database", "out-of-date database schema", "file is not a database")
"""Messages of SQL stores for permanent states; MLflow reports them as server errors."""


def is_refusal(error: BaseException) -> bool:
    """Return whether an error is permanent: the same request would fail again.

    True for answers with a status 4xx (invalid value, no permission, deleted run), for files and databases without
    write permission, and for bugs. False for temporary errors.
    """
    if isinstance(error, TrackingError | PermissionError | NotADirectoryError | FileExistsError):
        return True  # MLflow is not installed, or a path or permission is wrong
    if isinstance(error, TypeError | ValueError | LookupError | AttributeError) and not isinstance(error, OSError):
        return True  # a bug, in MLflow or here
    if any(words in str(error) for words in LASTING):
        return True
    status = _status(error)
    return status is not None and 400 <= status < 500 and status not in RETRIED


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of a server's answer or of MLflow's error; None without one."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return getattr(getattr(error, "response", None), "status_code", None)
    if error.error_code in RACES:
        return 409
    if error.error_code == "INVALID_STATE":
        return 400
    # MLflow turns a status without a name into an internal error; the message holds the number.
    named = re.search(r"failed with error code (\d{3})", str(error))
    return int(named[1]) if named else int(error.get_http_status_code())


def reason(error: BaseException) -> str:
    """Return the first line of an error, shortened and without secrets."""
    return redact(first_line(error))[:LONGEST]


@contextmanager
def model_refusals() -> Iterator[None]:
    """Raise the refusals of a logged model, such as a text beyond the model's positions, as ``UserError``."""
    load_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise UserError(str(error)) from error
