"""A Hugging Face hub on loopback: models and data sets from folders, by commit. It speaks the hub's own protocol."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import datasets
import huggingface_hub.constants
import pytest


def _oid(content: bytes) -> str:
    """Return 40 hexadecimal digits for a content, in the form of a git object's name."""
    return hashlib.sha256(content).hexdigest()[:40]


def _children(entries: list[dict[str, object]], folder: str) -> list[dict[str, object]]:
    """Return the files directly in a folder, and one entry for each of its folders."""
    depth = len(Path(folder).parts) + 1
    files = [entry for entry in entries if len(Path(str(entry["path"])).parts) == depth]
    deeper = {Path(*Path(str(entry["path"])).parts[:depth]).as_posix() for entry in entries if entry not in files}
    return [*files, *({"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(deeper))]


class HubServer:
    """A hub with repositories. ``push`` adds a commit and moves ``main`` to it.

    Attributes:
        gated: repositories that refuse everybody.
        cut: names of files whose answers end in the middle.
        endpoint: the address of the hub.
    """

    def __init__(self) -> None:
        self.gated: set[str] = set()
        self.cut: set[str] = set()
        self._commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self._main: dict[str, str] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self, body=True)

            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def do_POST(self) -> None:
                hub._answer(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def push(self, repository: str, folder: Path) -> str:
        """Publish a folder's files as the newest commit; return it. Data sets are ``datasets/org/name``."""
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        content = repr((repository, sorted((name, _oid(data)) for name, data in files.items())))
        commit = _oid(content.encode())
        self._commits.setdefault(repository, {})[commit] = files
        self._main[repository] = commit
        return commit

    def stop(self) -> None:
        """Stop the server; a second call does nothing."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        sent = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(request.path).path).strip("/")
        api = path.startswith("api/")
        parts = path.removeprefix("api/").removeprefix("models/").split("/")
        size = 3 if parts[0] == "datasets" else 2
        repository, rest = "/".join(parts[:size]), parts[size:]
        if not path:
            self._send(request, 200, b"", body=body)
        elif repository not in self._commits:
            self._send(request, 404, b"", body=body, error="RepoNotFound")
        elif repository in self.gated:
            self._send(request, 403, b"", body=body, error="GatedRepo")
        else:
            self._repository(request, repository, rest, sent, api=api, body=body)

    def _repository(
        self, request: BaseHTTPRequestHandler, repository: str, rest: list[str], sent: bytes, *, api: bool, body: bool
    ) -> None:
        kind, revision, inside = (rest[0] if rest else "revision"), (rest[1] if len(rest) > 1 else "main"), rest[2:]
        commit = self._main[repository] if revision == "main" else revision
        files = self._commits[repository].get(commit)
        if files is None:
            self._send(request, 404, b"", body=body, error="RevisionNotFound")
            return
        name = "/".join(inside)
        entries: list[dict[str, object]] = [
            {"type": "file", "path": path, "size": len(data), "oid": _oid(data)} for path, data in sorted(files.items())
        ]
        if not api and kind == "resolve":
            if name not in files:
                self._send(request, 404, b"", body=body, error="EntryNotFound", commit=commit)
                return
            self._send(request, 200, files[name], body=body, commit=commit, cut=name in self.cut)
        elif kind == "tree":
            recursive = "recursive=true" in urlsplit(request.path).query.lower()
            found = [entry for entry in entries if not name or str(entry["path"]).startswith(f"{name}/")]
            found = found if recursive else _children(found, name)
            if name and not found:
                self._send(request, 404, b"", body=body, error="EntryNotFound")
                return
            self._send(request, 200, json.dumps(found).encode(), body=body)
        elif kind == "paths-info":
            wanted = parse_qs(sent.decode()).get("paths", [])
            found = [entry for entry in entries if entry["path"] in wanted]
            self._send(request, 200, json.dumps(found).encode(), body=body)
        elif kind == "revision":
            siblings = [{"rfilename": path} for path in sorted(files)]
            info = {"id": repository.removeprefix("datasets/"), "sha": commit, "siblings": siblings, "private": False}
            self._send(request, 200, json.dumps(info).encode(), body=body)
        else:
            self._send(request, 404, b"", body=body)

    @staticmethod
    def _send(
        request: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        *,
        body: bool,
        error: str | None = None,
        commit: str | None = None,
        cut: bool = False,
    ) -> None:
        request.send_response(status)
        if error is not None:
            request.send_header("X-Error-Code", error)
        if commit is not None:
            request.send_header("X-Repo-Commit", commit)
            request.send_header("ETag", f'"{_oid(content)}"')
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if body:
            request.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            request.close_connection = True


@contextmanager
def hub_server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Run a hub in the block and use it as the hub of this process, with an empty cache."""
    server = HubServer()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for name, value in {
        "HF_HUB_OFFLINE": False,
        "ENDPOINT": server.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(cache / "hub"),
    }.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", server.endpoint)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    try:
        yield server
    finally:
        server.stop()
