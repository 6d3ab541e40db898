"""A PostgreSQL server for a test, in a temporary folder."""

import getpass
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_BINARIES = ("initdb", "pg_ctl")


def missing() -> str | None:
    """Return the missing requirement of a server in words; None if there is none."""
    lacking = [name for name in _BINARIES if shutil.which(name) is None]
    if lacking:
        return f"PostgreSQL is not installed: no {', '.join(lacking)}"
    return None if importlib.util.find_spec("psycopg") else "the driver psycopg is not installed (loratory[postgres])"


class Server:
    """Starts, stops and restarts one server."""

    def __init__(self, folder: Path, user: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._folder, self._user = folder, user
        self._options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=30"
        self.url = f"postgresql+psycopg://{user}@127.0.0.1:{port}/postgres"
        self._do("initdb", "-D", str(folder / "data"), "-A", "trust", "-N")

    def start(self) -> None:
        log = str(self._folder / "log")
        self._do("pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", log, "-o", self._options, "start")

    def stop(self) -> None:
        """Stop the server as in a crash: connections break at once."""
        self._do("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def _do(self, *command: str) -> None:
        subprocess.run(
            command, check=True, capture_output=True, cwd=self._folder, user=self._user if os.getuid() == 0 else None
        )


@contextmanager
def postgres_server() -> Iterator[Server]:
    """Run a server. It refuses to run as root, so root runs it as nobody."""
    user = "nobody" if os.getuid() == 0 else getpass.getuser()
    with TemporaryDirectory(dir="/tmp") as name:  # the path of the socket must be short
        folder = Path(name)
        if os.getuid() == 0:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        server = Server(folder, user)
        server.start()
        try:
            yield server
        finally:
            server.stop()
