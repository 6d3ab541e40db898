"""Recognise errors of an unwritable disk: full, over quota, read-only or broken."""

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
_SELF_EXPLANATORY = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_NUMBERS = _SELF_EXPLANATORY | {errno.EIO, errno.ESTALE}
_IN_WORDS = {os.strerror(number): os.strerror(number) for number in _SELF_EXPLANATORY}
_IN_WORDS |= {
    "database or disk is full": os.strerror(errno.ENOSPC),
    # torch reports a truncated file without an error number.
    "PytorchStreamWriter failed": _CUT,
    "unexpected pos": _CUT,
}
"""Cause by text in the messages of libraries without an error number."""

_REMEDIES = {
    os.strerror(errno.EROFS): "Make it writable, or set LORATORY_HOME to another folder",
    os.strerror(errno.EIO): "Look at the disk's health, or set LORATORY_HOME to another folder",
    os.strerror(errno.ESTALE): "Mount it again",
}


def disk_fault(error: BaseException) -> str | None:
    """Return the disk fault named by an error, its cause or its context, in words; None if there is none."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, OSError) and current.errno in _NUMBERS:
            return os.strerror(current.errno)
        text = str(current)
        cause = next((cause for words, cause in _IN_WORDS.items() if words in text), None)
        if cause is not None:
            return cause
        pending += [current.__cause__, current.__context__, getattr(current, "cause", None)]
    return None


def unwritable(place: Path | str, why: str) -> str:
    """Return a message: the place cannot be written, the cause, and the remedy."""
    remedy = _REMEDIES.get(why, "Free some space there, or raise the limit")
    return f"{place} cannot be written: {why}. {remedy}"


@contextmanager
def suspending(folder: Path | str) -> Iterator[None]:
    """Raise ``SuspendedError`` for a disk fault in the block; other errors pass unchanged.

    While a ``SuspendedError`` is being handled, errors of the block are logged and dropped: the first one is reported.

    Args:
        folder: the folder written by the block.
    """
    first = sys.exception()
    try:
        yield
    except Exception as error:  # all errors are inspected; only disk faults are converted
        if isinstance(first, SuspendedError):
            logger.warning("after the sweep was suspended", exc_info=error)
            return
        why = None if isinstance(error, SuspendedError) else disk_fault(error)
        if why is None:
            raise
        raise SuspendedError(unwritable(folder, why)) from error
