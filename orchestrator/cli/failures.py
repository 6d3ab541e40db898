"""Exit codes and error messages. Unexpected errors go to a log file with their traceback."""

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from orchestrator.core.errors import LoratoryError, RefusedError, UserError
from orchestrator.core.system.disk import disk_fault, unwritable
from orchestrator.core.system.secrets import redact

REFUSED, USER_ERROR, FAILURE, INTERRUPTED = 3, 2, 1, 130


def guarded(command: Callable[[], object]) -> int:
    """Run a command and return its exit code: 3 if a gate stops a promotion, 2 after another ``UserError``, 1 after any
    other failure.

    With ``LORATORY_DEBUG=1``, exceptions are not caught.
    """
    if os.environ.get("LORATORY_DEBUG") == "1":
        command()
        return 0
    try:
        command()
    except SystemExit as leave:  # typer ends every command so
        return leave.code if isinstance(leave.code, int) else FAILURE if leave.code else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  (the last handler: unknown errors are logged with their traceback)
        return _report_failure(error)
    return 0


def _report_failure(error: Exception) -> int:
    if isinstance(error, UserError):
        return _print_error(str(error), REFUSED if isinstance(error, RefusedError) else USER_ERROR)
    if isinstance(error, LoratoryError):
        return _print_error(f"error: {error}", FAILURE)
    if isinstance(error, BrokenPipeError):
        # The reader of our output has closed the pipe (`| head`). The interpreter must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        shown = str(error.filename or "")
        name = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return _print_error(f"{name}: path too long (limits: 255 bytes per name, 4,096 in total)", USER_ERROR)
    why = disk_fault(error)
    if why is not None:
        named = str(getattr(error, "filename", None) or "")
        place = named if Path(named).is_absolute() else os.environ.get("LORATORY_HOME") or ".loratory"
        return _print_error(f"error: {unwritable(place, why)}", FAILURE)
    message = traceback.format_exception_only(error)[-1].strip()
    return _print_error(f"unexpected error: {message}\ntraceback: {_log_traceback(error)}", FAILURE)


def _print_error(message: str, code: int) -> int:
    """Print to stderr without wrapping or colour, so that editors can parse ``file:line:column``."""
    sys.stderr.write(redact(message.rstrip()) + "\n")
    return code


def _log_traceback(error: BaseException) -> Path:
    """Append the traceback to the error log, or to a temporary file if the log is not writable; return its path."""
    import tempfile

    text = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n{''.join(traceback.format_exception(error))}\n"
    home = Path(os.environ.get("LORATORY_HOME") or ".loratory").absolute()
    path = home / "logs" / "errors.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(redact(text))
    except OSError:
        with tempfile.NamedTemporaryFile("w", prefix="loratory-", suffix=".log", delete=False) as other:
            other.write(redact(text))
        path = Path(other.name)
    return path
