"""Checks every request before its route: rate, token or host, size of the body."""

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Collection

from starlette.datastructures import URL
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.serving.server.errors import RequestError
from orchestrator.serving.server.limits import Limits, RequestRate
from orchestrator.serving.server.metrics import Metrics

OPEN = frozenset({"/health", "/ready"})
"""Routes without a token. Their answers contain no data."""


class Guard:
    """ASGI middleware around the application; it also counts the requests.

    Args:
        app: the application.
        limits: the limits.
        token: the token of the clients; None: no token is needed, and the header ``Host`` must name this machine.
            Without this check, a web page in a browser of this machine could read answers under a name of its own (DNS
            rebinding).
        metrics: counts the requests.
        routes: the paths of the routes, the only values of the metrics' label.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, token: str | None, metrics: Metrics, routes: Collection[str]
    ) -> None:
        self._app = app
        self._limits = limits
        self._token = None if token is None else token.encode()
        self._metrics = metrics
        self._routes = routes
        self._rate = RequestRate(limits.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status: list[int] = []

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        try:
            try:
                self._admit(scope)
                body = await self._body(scope, receive)
            except RequestError as error:
                await error.response()(scope, receive, counted)
                return
            if body is not None:  # None: the client has left
                await self._app(scope, _replay(body, receive), counted)
        except Exception:  # any: the outermost middleware answers it
            status.append(500)
            raise
        finally:
            if status:
                route = scope["path"] if scope["path"] in self._routes else "other"
                self._metrics.answered(route, status[0], time.perf_counter() - started)

    def _admit(self, scope: Scope) -> None:
        """Raise ``RequestError`` if the client sends too often or has no token."""
        wait_s = self._rate.wait_s(scope["client"][0] if scope.get("client") else "")
        if wait_s > 0:
            message = f"more than {self._limits.rate:g} requests per second from this address; wait {wait_s:.2f} s"
            raise RequestError(429, "too_many_requests", message, wait_s)
        if self._token is None:
            if not is_loopback(_host(scope)):
                message = "without a token, this server answers requests to localhost only; start it with --token-file"
                raise RequestError(421, "wrong_host", message)
            return
        if scope["path"] in OPEN:
            return
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise RequestError(
                401, "unauthorized", "send the server's token in the header 'Authorization: Bearer TOKEN'"
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body; None if the client has left.

        Raises:
            RequestError: the body is too large, or has not arrived in time.
        """
        most = self._limits.body_bytes
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > most:
            raise _too_large(most)
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise _too_large(most)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            seconds = self._limits.body_s
            raise RequestError(
                408, "request_timeout", f"the body of the request has not arrived within {seconds:g} s"
            ) from None


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False


def _host(scope: Scope) -> str:
    try:
        return URL(scope=scope).hostname or ""
    except ValueError:  # not a valid header
        return ""


def _too_large(most: int) -> RequestError:
    return RequestError(
        413, "body_too_large", f"the body of a request has at most {most:,} bytes; send the rows in several requests"
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receiver with the body that was read already."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
