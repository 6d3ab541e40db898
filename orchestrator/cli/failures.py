"""How commands fail: the user's mistakes and our own errors as messages, anything else as a traceback in a file."""

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from orchestrator.core.disk import disk_fault, unwritable
from orchestrator.core.errors import LoratoryError, UserError
from orchestrator.core.secrets import redact

USER_ERROR, FAILURE, INTERRUPTED = 2, 1, 130


def guarded(command: Callable[[], object]) -> int:
    """Run a command and return its exit code: 2 after a ``UserError``, 1 after any other failure.

    With ``LORATORY_DEBUG=1`` nothing is caught.
    """
    if os.environ.get("LORATORY_DEBUG") == "1":
        command()
        return 0
    try:
        command()
    except SystemExit as leave:  # how the command line library ends every command
        return leave.code if isinstance(leave.code, int) else FAILURE if leave.code else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  nothing is let through: what is not ours goes to a file, with its trace
        return _failed(error)
    return 0


def _failed(error: Exception) -> int:
    if isinstance(error, UserError):
        return _tell(str(error), USER_ERROR)
    if isinstance(error, LoratoryError):
        return _tell(f"error: {error}", FAILURE)
    if isinstance(error, BrokenPipeError):
        # The reader of our output went away (`| head`): that is no failure, but the interpreter must not flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        shown = str(error.filename or "")
        name = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return _tell(f"{name}: the path is too long; a name in it has at most 255 bytes, all of it 4,096", USER_ERROR)
    why = disk_fault(error)
    if why is not None:
        named = str(getattr(error, "filename", None) or "")
        place = named if Path(named).is_absolute() else os.environ.get("LORATORY_HOME") or ".loratory"
        return _tell(f"error: {unwritable(place, why)}", FAILURE)
    message = traceback.format_exception_only(error)[-1].strip()
    return _tell(f"unexpected error: {message}\nthe traceback is in {_record(error)}", FAILURE)


def _tell(message: str, code: int) -> int:
    """Print plainly: editors read ``file:line:column`` from the first columns, so nothing is wrapped or coloured."""
    sys.stderr.write(redact(message.rstrip()) + "\n")
    return code


def _record(error: BaseException) -> Path:
    """Append the traceback to the first place that can be written."""
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
