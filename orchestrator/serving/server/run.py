"""Runs the server on a socket until a signal ends it."""

import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.errors import UserError
from orchestrator.serving.server.guard import is_loopback
from orchestrator.serving.server.limits import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

TOKEN_VARIABLE = "LORATORY_SERVE_TOKEN"  # noqa: S105  (the variable's name)
MIN_TOKEN = 16
MAX_CONNECTIONS = 1000
"""Connections from which the server answers 503."""


def read_token(host: str, file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token of the clients; None: no token is needed.

    Args:
        host: the address to listen on.
        file: the file with the token, surrounded by white space; None: the variable ``LORATORY_SERVE_TOKEN``.
        environment: the environment variables.

    Raises:
        UserError: the host is not loopback and there is no token, or the token cannot be read or is too short.
    """
    place = TOKEN_VARIABLE if file is None else f"--token-file {file}"
    if file is not None:
        try:
            token: str | None = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{place} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    else:
        token = environment.get(TOKEN_VARIABLE)
    if token is None:
        if not is_loopback(host):
            raise UserError(
                f"--host {host}: other machines can reach this address, so clients need a token. Give --token-file "
                f"FILE or set {TOKEN_VARIABLE}; without a token the server listens on 127.0.0.1"
            )
        return None
    if len(token) < MIN_TOKEN or not token.isascii() or any(map(str.isspace, token)):
        raise UserError(
            f"{place}: a token has at least {MIN_TOKEN} ASCII characters without spaces, such as the output of "
            "'openssl rand -hex 32'"
        )
    return token


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; the system chooses a free port for port 0.

    Raises:
        UserError: the address does not exist on this machine, or the port is in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # Python repeats the address there
        raise UserError(f"cannot listen on {host} port {port}: {reason}. Choose another --port or --host") from error


def address_of(listener: socket.socket) -> str:
    """Return the address of a listening socket, for people: ``http://host:port``."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: "FastAPI", listener: socket.socket, limits: Limits, ready: Callable[[], None]) -> bool:
    """Serve until SIGTERM or SIGINT; return whether all requests in progress got their answers.

    After the signal the server takes no more connections, and requests in progress have ``limits.grace_s`` seconds. A
    second SIGINT ends it at once.

    Args:
        app: the application.
        listener: the listening socket.
        limits: the limits.
        ready: called when the server can answer.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client could choose the address that the rate limit counts
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=max(1, round(limits.grace_s)),
    )
    server = uvicorn.Server(config)

    # A signal before uvicorn handles them also stops the server. uvicorn raises its signals again for these handlers;
    # the server has stopped by then.
    def stop(*_signal: object) -> None:
        server.should_exit = True

    kept = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ready()
        server.run(sockets=[listener])
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        listener.close()
    cut: int = app.state.service.batcher.cut
    return cut == 0
