"""A hub without an answer is detected once; the process then works offline."""

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
from orchestrator.assets.hub import hub_errors
from orchestrator.assets.models import load_pretrained, require_model
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, ModelError

ABSENT = Source(origin=Origin.HUB, name="org/never-downloaded")
PROBLEM = (
    r"hub:org/never-downloaded could not be loaded from the hub: {} does not answer(.|\n)*HF_ENDPOINT(.|\n)*packaged"
)


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enable requests to the hub; settings changed by the code under test are restored."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set an endpoint without a listener."""
    endpoint = "http://127.0.0.1:9"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    return endpoint


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Run an empty hub and record its requests."""
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


def test_unreachable_hub_message_has_remedies(silent: str) -> None:
    with pytest.raises(AssetError, match="model " + PROBLEM.format(silent)):
        require_model(ABSENT)
    assert os.environ["HF_HUB_OFFLINE"] == "1", "processes that we start do without it from the beginning"


def test_data_and_models_work_offline(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssetError, match="data set " + PROBLEM.format(silent)):
        read_table(ABSENT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(AssetError, match="model " + PROBLEM.format(silent)):
        load_pretrained(AutoConfig, ABSENT)


def test_local_copies_replace_unreachable_hub(silent: str) -> None:
    with hub_errors("a copy"):
        found = huggingface_hub.constants.HF_HUB_OFFLINE
    assert found


def test_answering_hub_is_asked_once(asked: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(AssetError, match="no such file"), hub_errors("model x"):
            raise FileNotFoundError("no such file")
    assert asked == ["/"]
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": "{}"}, None),
        (
            {"config.json": "{}", "adapter_config.json": "{}"},
            "hub:org/model contains adapter_config.json beside the model",
        ),
        (
            {"adapter_config.json": '{"base_model_name_or_path": "org/base"}'},
            "hub:org/model contains an adapter and no base model. Set model: org/base",
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
