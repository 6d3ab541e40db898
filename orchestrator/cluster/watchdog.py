"""Cleans up after a driver that was killed: ``python -I watchdog.py FOLDER PID...``, with the driver at its input.

Most of Ray's processes die with the driver, but two agents go on for a minute, and its files stay. This program waits
until the driver's end of the pipe closes, then ends what is left. It imports nothing that is not Python's own, and
knows nothing of Ray.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_GRACE_S = 1.0  # for processes that end by themselves, and their last files
_ATTEMPTS = 15


def start_watchdog(folder: Path, processes: Iterable[int]) -> "subprocess.Popen[bytes]":
    """Have ``processes`` killed and ``folder`` removed should this process die; kill the watchdog to call that off."""
    command = [sys.executable, "-I", __file__, str(folder), *map(str, processes)]
    # A session of its own, so that a Ctrl-C in the terminal does not end it.
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _kill(pid: int, handle: int | None) -> None:
    with suppress(ProcessLookupError):
        if handle is None:
            os.kill(pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(handle, signal.SIGKILL)


def _handle(pid: int) -> int | None:
    """Return what names this very process even after its number is used again, where the system has such a thing."""
    with suppress(OSError, AttributeError):
        return os.pidfd_open(pid)
    return None


if __name__ == "__main__":
    watched = {int(pid): _handle(int(pid)) for pid in sys.argv[2:]}
    sys.stdin.read()
    time.sleep(_GRACE_S)
    for number, opened in watched.items():
        _kill(number, opened)
    for _ in range(_ATTEMPTS):  # a worker that is still ending may write what is being removed
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        if not Path(sys.argv[1]).exists():
            break
        time.sleep(_GRACE_S)
