"""Checks whether Ray still runs, by the ids of its processes on this machine."""

from pathlib import Path

import psutil
from ray._private.worker import global_worker

from orchestrator.core.errors import SuspendedError

_SERVER = "gcs_server"


class RayHealth:
    """Tells whether the connected Ray is alive, by its processes on this machine.

    The processes are the raylet used by this process and, if Ray's head runs on this machine, the head's server. If no
    such process is found, Ray counts as alive.
    """

    def __init__(self, log: Path) -> None:
        """Find the processes; ``log`` is the file with Ray's output."""
        self._log = log
        self._processes: list[psutil.Process] = []
        node = global_worker.node
        if node is None:  # Ray's client: Ray runs on other machines
            return
        raylet, session = node.raylet_socket_name, Path(node.get_session_dir_path()).name
        self._processes = [
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if _is_one(process.info["name"], " ".join(process.info["cmdline"] or ()), raylet, session)
        ]

    def alive(self) -> bool:
        """Return whether all processes still run."""
        return all(map(_runs, self._processes))

    @property
    def error(self) -> SuspendedError:
        """The error for a Ray that has ended."""
        return SuspendedError(
            f"Ray's processes have ended: they were killed, or memory ran out; Ray's output is in {self._log}"
        )


def _is_one(name: str, command: str, raylet: str, session: str) -> bool:
    return (name == "raylet" and raylet in command) or (name == _SERVER and session in command)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
