"""Token, host and rate, over a real connection; the rules for tokens, names and addresses."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import requests
import uvicorn
from starlette.testclient import TestClient

from orchestrator.core.errors import UserError
from orchestrator.serving.server.app import create_app
from orchestrator.serving.server.limits import Limits, RequestRate
from orchestrator.serving.server.models import ServedModels, load_models, served_names
from orchestrator.serving.server.run import address_of, listen, read_token
from orchestrator.tracking.location import Location

TOKEN = "c5a4e0f19b7d4c2f"
Serve = Callable[[Limits, str | None], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def models(folders: dict[str, Path], nowhere: Location) -> ServedModels:
    return load_models([str(folders["mood"])], nowhere)


@pytest.fixture
def serve(models: ServedModels) -> Serve:
    """Serve in a thread of this process."""

    @contextmanager
    def run(limits: Limits, token: str | None) -> Iterator[str]:
        listener = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(create_app(models, limits, token), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join(timeout=60)
            listener.close()

    return run


def test_token_is_required(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with serve(Limits(), TOKEN) as url:
        for given in (None, "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xff"):
            headers = {} if given is None else {"Authorization": given.encode("latin-1")}
            for path in ("models", "metrics", "openapi.json", "nothing"):
                answer = requests.get(f"{url}/{path}", headers=headers, timeout=60)
                assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert requests.get(f"{url}/health", timeout=60).json() == {"status": "ok"}
        headers = {
            "Authorization": f"Bearer {TOKEN}".encode(),
            "Host": b"models.example",
        }  # with a token, under any name
        done = requests.post(f"{url}/predict", json={"texts": ["a great film"]}, headers=headers, timeout=60)
        assert done.status_code == 200
        scheme = requests.get(f"{url}/openapi.json", headers=headers, timeout=60).json()["components"][
            "securitySchemes"
        ]
        assert scheme["HTTPBearer"]["scheme"] == "bearer"
    assert TOKEN not in caplog.text


def test_client_over_its_rate_waits(serve: Serve) -> None:
    with serve(Limits(rate=0.5), None) as url:
        answers = [requests.get(f"{url}/health", timeout=60) for _ in range(4)]
    limited = [each for each in answers if each.status_code == 429]
    assert answers[0].status_code == 200
    assert limited
    assert {each.json()["error"] for each in limited} == {"too_many_requests"}
    assert all(1 <= int(each.headers["Retry-After"]) <= 2 for each in limited)


def test_rate_is_an_average_with_bursts() -> None:
    now = 0.0
    rate = RequestRate(2, clock=lambda: now)
    assert [rate.wait_s("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rate.wait_s("b") == 0
    now = 0.25
    assert rate.wait_s("a") == pytest.approx(0.25)
    now = 0.5
    assert [rate.wait_s("a"), rate.wait_s("a")] == [0, 0.5]


def test_token_is_needed_beyond_loopback(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    for host in ("127.0.0.1", "localhost", "::1"):
        assert read_token(host, None, {}) is None
    assert read_token("0.0.0.0", file, {}) == TOKEN  # noqa: S104  (nothing listens)
    assert read_token("127.0.0.1", None, {"LORATORY_SERVE_TOKEN": TOKEN}) == TOKEN
    for host in ("0.0.0.0", "::", "192.168.1.2", "models.example"):  # noqa: S104
        with pytest.raises(UserError, match=f"--host {re.escape(host)}: .* clients need a token"):
            read_token(host, None, {})
    with pytest.raises(UserError, match="none cannot be read: No such file"):
        read_token("::", tmp_path / "none", {})
    for short in ("", "secret", f"{TOKEN} {TOKEN}"):
        with pytest.raises(UserError, match="LORATORY_SERVE_TOKEN: a token has at least 16 ASCII characters") as caught:
            read_token("::", None, {"LORATORY_SERVE_TOKEN": short})
        assert not short or short not in str(caught.value)


def test_used_port_is_named() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {port}: .*use"):
            listen("127.0.0.1", port)


def test_names_of_served_models(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    arguments = [str(folder), "sentiment@champion", "models:/sentiment/3", f"other={folder}"]
    assert served_names(arguments) == {
        "films": str(folder),
        "sentiment@champion": "sentiment@champion",
        "sentiment-3": "models:/sentiment/3",
        "other": str(folder),
    }
    with pytest.raises(UserError, match=r"two models with the name films: .* Choose a name: NAME="):
        served_names([str(folder), f"{folder}/"])
    with pytest.raises(UserError, match="'a b' cannot be the name of a served model"):
        served_names(["a b"])


def test_failed_request_is_counted(models: ServedModels) -> None:
    app = create_app(models, Limits(), None)

    @app.get("/fails")
    def fails() -> None:
        raise RuntimeError("broken")

    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        assert client.get("/fails").status_code == 500
        assert 'loratory_requests_total{route="other",status="500"} 1.0' in client.get("/metrics").text
