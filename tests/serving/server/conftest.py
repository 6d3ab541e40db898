"""Adapters over MiniLM and a language model as folders, and the command ``serve`` in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.assets.models import resolve_model
from orchestrator.core.data import Origin, Source
from orchestrator.serving.predictor import Predictor
from orchestrator.tracking.location import Location
from orchestrator.tracking.logged_models.staging import stage_adapter
from tests.tracking.cards import made_card
from tests.tracking.records import sweep, trial
from tests.tracking.trained import classifier_adapter, writer_adapters

ROOT = Path(__file__).parents[3]
LABELS = {"mood": ("negative", "positive"), "tone": ("angry", "calm"), "topic": ("sport", "film", "news")}
TAGS = ("O", "B-NAME", "B-PLACE", "B-TIME")
START_S = 180
"""How long a server may take to load its models on a busy machine."""
MINILM = Source(origin=Origin.PACKAGED, name="minilm")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return exported folders by name: three classifiers and a finder of entities over MiniLM, and a language model."""
    folder = tmp_path_factory.mktemp("served")
    base = resolve_model(MINILM)
    found = {}
    for seed, (name, labels) in enumerate((LABELS | {"finder": TAGS}).items()):
        head = "token_classification" if labels is TAGS else "sequence_classification"
        classifier_adapter(Path(base), folder / "raw" / name, seed, labels, by_token=labels is TAGS)
        card = made_card(
            MINILM,
            base_path=base,
            head=head,
            labels=labels,
            max_length=64,
            objective="sentiment",
            sweep="films#1",
            trial=seed,
            temperature=2.5 if name == "mood" else None,
        )
        found[name] = stage_adapter(folder / "raw" / name, card, folder / name)
    adapters, record = writer_adapters(folder / "language", "causal_lm"), trial(0, (0.5,))
    adapter = adapters.folder(record)
    assert adapter is not None
    found["writer"] = stage_adapter(adapter, adapters.card(sweep(), record), folder / "writer")
    return found


@pytest.fixture(scope="session")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """Return a location without a store: folders need none."""
    return Location(tracking_uri="sqlite:////nowhere.db", registry_uri="sqlite:////nowhere.db", artifacts=None)


@pytest.fixture(scope="session")
def predictors(folders: dict[str, Path], nowhere: Location) -> dict[str, Predictor]:
    """Return the predictors of ``predict``, each with a base model of its own."""
    return {name: Predictor.load(str(folder), nowhere) for name, folder in folders.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    url: str
    process: "subprocess.Popen[str]"
    messages: list[str]

    def predict(self, **body: Any) -> requests.Response:
        return requests.post(f"{self.url}/predict", json=body, timeout=START_S)

    def metric(self, name: str) -> float:
        """Return the sum over all labels."""
        lines = requests.get(f"{self.url}/metrics", timeout=START_S).text
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", lines, re.MULTILINE))

    def stop(self) -> None:
        """End the server as Ctrl-C does."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
                assert self.process.wait(timeout=START_S) == 0, self.messages
        finally:
            self.process.kill()


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start ``serve`` with arguments, on a free port of loopback; every server ends with the module."""
    started: list[Server] = []
    environment = os.environ | {"LORATORY_HOME": str(tmp_path_factory.mktemp("home"))}

    def run(*arguments: str) -> Server:
        command = [sys.executable, "-m", "orchestrator", "serve", *arguments, "--port", "0", "--json"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        messages: list[str] = []
        threading.Thread(target=messages.extend, args=(process.stderr,), daemon=True).start()
        text = ""
        while not text.endswith("}\n") or text.count("{") != text.count("}"):
            line = process.stdout.readline()
            assert line, (text, messages)
            text += line
        server = Server(url=json.loads(text)["url"], process=process, messages=messages)
        started.append(server)
        return server

    yield run
    for server in started:
        server.stop()
