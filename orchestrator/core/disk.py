"""Recognise errors of a disk that cannot be written: full, over quota, read-only or broken."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.core.errors import SuspendedError

logger = logging.getLogger(__name__)

_CUT = "a file could not be written to its end"
_TOLD = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_NUMBERS = _TOLD | {errno.EIO, errno.ESTALE}
_IN_WORDS = {os.strerror(number): os.strerror(number) for number in _TOLD}
_IN_WORDS |= {
    "database or disk is full": os.strerror(errno.ENOSPC),
    # What torch says when a file that it writes ends too soon; it tells no number.
    "PytorchStreamWriter failed": _CUT,
    "unexpected pos": _CUT,
}
"""What stands in the texts of libraries that hide the number, and what it means."""

_REMEDIES = {
    os.strerror(errno.EROFS): "Make it writable, or set LORATORY_HOME to another folder",
    os.strerror(errno.EIO): "Look at the disk's health, or set LORATORY_HOME to another folder",
    os.strerror(errno.ESTALE): "Mount it again",
}


def disk_fault(error: BaseException) -> str | None:
    """Return what is wrong with a disk, in words, if an error, its cause or its context says that; otherwise None."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, OSError) and found.errno in _NUMBERS:
            return os.strerror(found.errno)
        text = str(found)
        meaning = next((means for words, means in _IN_WORDS.items() if words in text), None)
        if meaning is not None:
            return meaning
        waiting += [found.__cause__, found.__context__, getattr(found, "cause", None)]
    return None


def unwritable(place: Path | str, why: str) -> str:
    """Return the sentence that says that nothing can be written to a place, and what to do."""
    remedy = _REMEDIES.get(why, "Free some space there, or raise the limit")
    return f"{place} cannot be written: {why}. {remedy}"


@contextmanager
def suspending(folder: Path | str) -> Iterator[None]:
    """Raise ``SuspendedError`` for an error that says that a disk cannot be written; others pass as they are.

    If a ``SuspendedError`` is being handled already, errors of this block are logged and dropped, so that the first one
    is reported.

    Args:
        folder: the folder that the block writes to.
    """
    first = sys.exception()
    try:
        yield
    except Exception as error:  # all errors are inspected; those of no disk are raised again
        if isinstance(first, SuspendedError):
            logger.warning("after the sweep was suspended", exc_info=error)
            return
        why = None if isinstance(error, SuspendedError) else disk_fault(error)
        if why is None:
            raise
        raise SuspendedError(unwritable(folder, why)) from error
