"""The engine's side of a function's process: start it, receive its messages, answer, end it."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.core.errors import LoratoryError

GRACE_S = 10.0
"""Seconds that a function has to end after ``Stopped``, before its process is killed."""
POLL_S = 1.0
"""Seconds between two looks at whether the process still runs."""
_CHILD = Path(__file__).with_name("child.py")
_ROOT = Path(__file__).parents[3]
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


class FunctionProcess:
    """A process that runs a function; its output goes to a log."""

    def __init__(self, request: Mapping[str, Any], file: Path, log: Path, python: str | None) -> None:
        """Start the process in the folder of the function's file.

        Args:
            request: the trial, as ``child.py`` reads it.
            file: the request is written there.
            log: the process appends its output there.
            python: the interpreter; None: this process's.

        Raises:
            LoratoryError: the interpreter cannot be started.
        """
        file.write_text(json.dumps(request), encoding="utf-8")
        self.log = log
        answers_out, answers_in = os.pipe()
        messages_out, messages_in = os.pipe()
        command = [python or sys.executable, str(_CHILD), str(answers_out), str(messages_in), str(file)]
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    command,
                    cwd=Path(request["path"]).parent,
                    env=_environment(request, own=python is None),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(answers_out, messages_in),
                    start_new_session=True,  # Ctrl-C suspends the sweep; the function ends at its next report
                )
        except OSError as error:
            os.close(answers_in)
            os.close(messages_out)
            raise LoratoryError(f"function.python: {command[0]} cannot be started: {error}") from error
        finally:
            os.close(answers_out)
            os.close(messages_in)
        self._answers = os.fdopen(answers_in, "w", encoding="utf-8")
        self._messages = os.fdopen(messages_out, "rb", buffering=0)
        self._received = b""

    def receive(self) -> dict[str, Any]:
        """Wait for the next message and return it.

        Raises:
            LoratoryError: the process ended without one.
        """
        line = self._line()
        if line:
            message: dict[str, Any] = json.loads(line)
            return message
        code = self._process.wait()
        name = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        memory = "; the system may have been out of memory" if code == -signal.SIGKILL else ""
        raise LoratoryError(f"the function's process ended with {name}{memory}; its output is in {self.log}")

    def _line(self) -> bytes:
        """Wait for the next line and return it; nothing if the process has ended.

        A child of the process inherits its end of the pipe and may outlive it, so the pipe alone does not show the end.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._messages, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(POLL_S):
                    if self._process.poll() is not None and not selector.select(0):
                        return b""
                    continue
                read = self._messages.read(1 << 16)
                if not read:
                    return b""
                self._received += read
        line, _, self._received = self._received.partition(b"\n")
        return line

    def resume(self) -> None:
        """Let the function continue after a report."""
        with suppress(BrokenPipeError):  # the process has ended; `receive` says how
            self._answers.write("continue\n")
            self._answers.flush()

    def close(self, grace_s: float = GRACE_S) -> None:
        """End the process: its report raises ``Stopped``; after ``grace_s`` seconds it is killed with its children."""
        with suppress(BrokenPipeError):
            self._answers.write("stop\n")
            self._answers.flush()
        with suppress(BrokenPipeError):
            self._answers.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        with suppress(ProcessLookupError, PermissionError):  # the group has ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._messages.close()


def _environment(request: Mapping[str, Any], *, own: bool) -> dict[str, str]:
    """Return the environment of a function; its own interpreter does not get this one's packages."""
    threads = {name: str(request["threads"]) for name in _THREADS}
    found = {**os.environ, **threads, "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": str(request["seed"])}
    if own:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    else:
        found.pop("PYTHONPATH", None)
        found.pop("PYTHONHOME", None)
    return found
