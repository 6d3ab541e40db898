"""Whether Ray is still there: its processes on this machine, looked at by their ids."""

from pathlib import Path

import psutil
from ray._private.worker import global_worker

from orchestrator.core.errors import SuspendedError

_SERVER = "gcs_server"


class RayHealth:
    """The processes of the Ray that this process is connected to.

    They are the raylet that it speaks to and, if Ray's head is on this machine, the head's server. A Ray of which none
    is found counts as alive.
    """

    def __init__(self, log: Path) -> None:
        """Find the processes; ``log`` is the file that holds what Ray says."""
        self._log = log
        self._processes: list[psutil.Process] = []
        node = global_worker.node
        if node is None:  # Ray's client: all of Ray is elsewhere
            return
        raylet, session = node.raylet_socket_name, Path(node.get_session_dir_path()).name
        self._processes = [
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if _is_one(process.info["name"], " ".join(process.info["cmdline"] or ()), raylet, session)
        ]

    def alive(self) -> bool:
        """Return whether all of them still run."""
        return all(map(_runs, self._processes))

    @property
    def error(self) -> SuspendedError:
        """The error that says that Ray has ended."""
        return SuspendedError(
            f"Ray's own processes have ended: somebody killed them, or memory ran out; {self._log} holds what Ray said"
        )


def _is_one(name: str, command: str, raylet: str, session: str) -> bool:
    return (name == "raylet" and raylet in command) or (name == _SERVER and session in command)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
