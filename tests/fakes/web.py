"""The web on loopback: an HTTPS proxy that answers for other hosts, with a certificate that this process trusts."""

import datetime
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer of a host.

    Attributes:
        cut: whether the connection ends in the middle of the body.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


Host = Callable[[str, bytes], Answer]
"""Returns the answer to a path and a body."""


def _certificate(hosts: list[str], folder: Path) -> Path:
    """Write a key and its own certificate for the hosts into one file; return it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "web.pem"
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(text + made.public_bytes(serialization.Encoding.PEM))
    return file


def _handler(hosts: dict[str, Host], context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        host: Host

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.host = hosts[self.path.partition(":")[0]]
            self.request = context.wrap_socket(self.request, server_side=True)
            self.setup()  # reads and writes go through TLS from here
            self.handle_one_request()
            self.connection.close()  # the client sees the end of an answer that is cut

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            answer = self.host(self.path, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body)), "Connection": "close", **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def web(hosts: dict[str, Host], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answer for the hosts in the block: all HTTPS requests of this process go there. Every other host is an error."""
    file = _certificate([*hosts], folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hosts, context))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.server_port}")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):  # of urllib, of requests
        monkeypatch.setenv(name, str(file))
    forget_proxies(monkeypatch)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def forget_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make urllib read the proxy of the environment again; it does so once in a process."""
    monkeypatch.setattr(urllib.request, "_opener", None)
