"""Cleans up after a killed driver: ``python -I watchdog.py FOLDER PID...``, with a pipe from the driver as its input.

Most of Ray's processes die with the driver, but two agents run for another minute, and Ray's files stay. This program
waits until the pipe closes, then kills the remaining processes and removes the files. It imports the standard library
only, and knows nothing of Ray.
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

_GRACE_S = 1.0  # time for processes to end by themselves and write their last files
_ATTEMPTS = 15


def start_watchdog(folder: Path, processes: Iterable[int]) -> "subprocess.Popen[bytes]":
    """Start a watchdog, which kills ``processes`` and removes ``folder`` if this process dies; kill it to cancel."""
    command = [sys.executable, "-I", __file__, str(folder), *map(str, processes)]
    # In its own session, Ctrl-C in the terminal does not end it.
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _kill(pid: int, handle: int | None) -> None:
    with suppress(ProcessLookupError):
        if handle is None:
            os.kill(pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(handle, signal.SIGKILL)


def _handle(pid: int) -> int | None:
    """Return a handle of the process, valid even if its id is reused; None if the system has no such handles."""
    with suppress(OSError, AttributeError):
        return os.pidfd_open(pid)
    return None


if __name__ == "__main__":
    watched = {int(pid): _handle(int(pid)) for pid in sys.argv[2:]}
    sys.stdin.read()
    time.sleep(_GRACE_S)
    for number, opened in watched.items():
        _kill(number, opened)
    for _ in range(_ATTEMPTS):  # an ending worker may still write files
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        if not Path(sys.argv[1]).exists():
            break
        time.sleep(_GRACE_S)
