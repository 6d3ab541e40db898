"""The MLflow server as a child process; it ends with its parent."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.tracking.environment import DEFAULTS, load_mlflow
from orchestrator.tracking.location import Location
from orchestrator.tracking.ui.ui_page import APP, plugin

STOP_S = 4.0
"""Seconds for the server to stop after SIGTERM."""


@contextmanager
def serve(
    location: Location,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    log: Path | None = None,
    wait_s: float = 120.0,
) -> Iterator[str]:
    """Yield the address of an MLflow server; for a local store, run ``mlflow server`` on it during the block.

    The server and its workers are stopped at the end of the block, also after Ctrl-C or SIGTERM.

    Args:
        location: the store to show.
        host: the interface to listen on.
        port: the port; 0: any free one; None: 5000 if it is free, else any free one.
        log: file for the server's output; None drops it.
        wait_s: longest time to the first answer, in seconds.

    Raises:
        UserError: the port is taken.
        TrackingError: the server ended, or did not answer in time.
    """
    if location.is_server:
        yield location.tracking_uri
        return
    load_mlflow()
    address = f"http://{host}:{choose_port(host, port)}"
    # In the environment: all users of a machine can read command lines, and an address may hold a password.
    stores = {"MLFLOW_BACKEND_STORE_URI": location.tracking_uri, "MLFLOW_REGISTRY_STORE_URI": location.registry_uri}
    with (
        _terminated_as_interrupt(),
        plugin() as path,
        _child(_command(location, address), {**path, **stores}, log) as child,
    ):
        _wait(child, address, wait_s, log)
        yield address


def _command(location: Location, address: str) -> list[str]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1"]
    command += ["--app-name", APP]
    if location.new_artifacts is not None:
        location.new_artifacts.mkdir(parents=True, exist_ok=True)
        command += ["--artifacts-destination", str(location.new_artifacts)]
    return command


@contextmanager
def _child(command: list[str], variables: Mapping[str, str], log: Path | None) -> Iterator["subprocess.Popen[bytes]"]:
    with Path(log or os.devnull).open("ab") as output:
        # A process group of its own: Ctrl-C reaches only the parent, which stops the server with its workers.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**DEFAULTS, **os.environ, **variables},
        )
    try:
        yield child
    finally:
        _stop(child)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
        except ProcessLookupError:
            break
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C in the block; only the main thread can handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(child: "subprocess.Popen[bytes]", address: str, wait_s: float, log: Path | None) -> None:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise TrackingError(f"mlflow server ended with code {child.returncode}; {_log_hint(log)}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):  # noqa: S310  (our own http address)
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise TrackingError(f"mlflow server does not answer at {address} after {wait_s:g} s; {_log_hint(log)}")


def _log_hint(log: Path | None) -> str:
    return "its output was not kept" if log is None else f"see {log}"


def choose_port(host: str, port: int | None) -> int:
    """Return a free port: ``port``; for 0 any; for None 5000, or any if 5000 is taken.

    Raises:
        UserError: ``port`` is taken.
    """
    for candidate in (5000, 0) if port is None else (port,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError(f"port {port} of {host} is taken; give another with --port")
