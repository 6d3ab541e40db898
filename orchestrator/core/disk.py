"""Errors that say that a disk cannot be written: full, over quota, read-only, broken."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.core.errors import SuspendedError

_NUMBERS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
}
_IN_WORDS = re.compile(r"\(?os error (\d+)\)?|code: (\d+)", re.IGNORECASE)  # how Rust's libraries tell the number
_TORCH = "PytorchStreamWriter failed"  # torch tells none


def disk_fault(error: BaseException) -> str | None:
    """Return what is wrong with a disk, in words, if an error, its cause or its context says that; otherwise None."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        number = _number(found)
        if number in _NUMBERS:
            return os.strerror(number)
        if _TORCH in str(found):
            return "the file could not be written to its end"
        waiting += [found.__cause__, found.__context__, getattr(found, "cause", None)]
    return None


def unwritable(folder: Path | str, why: str) -> SuspendedError:
    """Return the error that says that nothing can be written to a folder, and what to do."""
    return SuspendedError(f"{folder} cannot be written: {why}. Free some space there, or raise the limit")


@contextmanager
def suspending(folder: Path | str) -> Iterator[None]:
    """Raise ``SuspendedError`` for an error that says that a disk cannot be written; others pass as they are.

    Args:
        folder: what is written inside.
    """
    try:
        yield
    except Exception as error:  # any is let through; only what it means is looked at
        why = None if isinstance(error, SuspendedError) else disk_fault(error)
        if why is None:
            raise
        raise unwritable(folder, why) from error


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    match = _IN_WORDS.search(str(error))
    return int(match[1] or match[2]) if match else None
