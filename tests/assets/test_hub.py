"""A hub that does not answer is found out once, and then done without."""

import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
from transformers import AutoConfig

from orchestrator.assets.data import read_table
from orchestrator.assets.hub import unreachable
from orchestrator.assets.models import load_pretrained, require_model
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, ModelError

ABSENT = Source(origin=Origin.HUB, name="org/never-downloaded")
SAID = r"hub:org/never-downloaded could not be loaded from the hub: {} does not answer(.|\n)*HF_ENDPOINT(.|\n)*packaged"


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub be asked; what the code under test switches off is put back at the end."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> str:
    """Point to a place where nobody listens."""
    endpoint = "http://127.0.0.1:9"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    return endpoint


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Run a hub that knows nothing, and list what it is asked for."""
    paths: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield paths
    server.shutdown()
    server.server_close()


def test_a_silent_hub_is_named_with_the_ways_out(silent: str) -> None:
    with pytest.raises(AssetError, match="model " + SAID.format(silent)):
        require_model(ABSENT)
    assert os.environ["HF_HUB_OFFLINE"] == "1", "processes that we start do without it from the beginning"


def test_data_and_loading_do_without_it_too(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssetError, match="data set " + SAID.format(silent)):
        read_table(ABSENT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(AssetError, match="model " + SAID.format(silent)):
        load_pretrained(AutoConfig, ABSENT)


def test_copies_serve_where_the_hub_is_silent(silent: str) -> None:
    with unreachable("a copy"):
        found = huggingface_hub.constants.HF_HUB_OFFLINE
    assert found


def test_a_hub_that_says_anything_is_left_to_the_libraries_and_asked_once(asked: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(AssetError, match="no such file"), unreachable("model x"):
            raise FileNotFoundError("no such file")
    assert asked == ["/"]
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": "{}"}, None),
        (
            {"config.json": "{}", "adapter_config.json": "{}"},
            "hub:org/model holds adapter_config.json beside the model",
        ),
        (
            {"adapter_config.json": '{"base_model_name_or_path": "org/base"}'},
            "hub:org/model holds an adapter and no base model. Set model: org/base",
        ),
    ],
)
def test_hub_repository_with_an_adapter_is_refused(
    files: dict[str, str], message: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    folder, commit = tmp_path / "models--org--model", "a" * 40
    for name, text in {"refs/main": commit, **{f"snapshots/{commit}/{file}": files[file] for file in files}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    source = Source(origin=Origin.HUB, name="org/model")
    if message is None:
        require_model(source)
        return
    with pytest.raises(ModelError, match=re.escape(message)):
        require_model(source)
