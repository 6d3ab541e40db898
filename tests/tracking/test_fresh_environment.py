"""``models:/NAME@champion`` in processes that do not find this project: loaded with MLflow, and served by MLflow.

The extended variant builds an environment with four packages and their dependencies alone.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.tracking.registered.registry import Registry
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.conftest import copied
from tests.tracking.records import description
from tests.tracking.trained import LABELS, TEXTS, TrainedSweep, trained_sweep

START_S = 180.0
"""How long the server may take to load the model; its imports take most of this on a busy machine."""
INSTALL_S = 1800.0
PACKAGES = ("mlflow", "torch", "transformers", "peft")
NOT_NEEDED = ("orchestrator", "ray", "optuna", "datasets")
IDS = ["awful", "a great film", "terrible", "fine"]
LOADED = """
import importlib.util, json, os, sys
import mlflow, pandas as pd

texts, ids, absent = json.loads(sys.argv[1])
assert not [name for name in absent if importlib.util.find_spec(name)]
model = mlflow.pyfunc.load_model("models:/tickets@champion")
answers = model.predict(pd.DataFrame({"Ticket ID": ids, "Ticket text": texts}))
try:
    model.predict(pd.DataFrame({"Ticket text": ["fine", None]}))
except Exception as error:
    refusal = str(error)
print(json.dumps([answers.to_dict("records"), refusal, os.listdir()]))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedSweep:
    sweep = trained_sweep(tmp_path_factory.mktemp("trained"))
    return replace(sweep, adapters=replace(sweep.adapters, text_column="Ticket text"))


@pytest.fixture(scope="module", params=["hidden", pytest.param("installed", marks=pytest.mark.extended)])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an interpreter that does not find this project: this one, or that of a new environment."""
    if request.param == "hidden":
        return sys.executable
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    found = str(folder / "bin" / "python")
    pins = [f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES]
    subprocess.run([found, "-m", "pip", "install", "--quiet", *pins], check=True, timeout=INSTALL_S)
    return found


@pytest.fixture(scope="module")
def environment(
    trained: TrainedSweep, empty_store: Path, python: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Return the variables of a process with a registered champion, and without a path to this project."""
    location = copied(empty_store, tmp_path_factory.mktemp("store"))
    Synchroniser(trained.store.ledger, trained.store.id, description(keep_adapters=1), location, trained.adapters).run()
    registry = Registry(location)
    model_id = trained.store.ledger.cursors.load(trained.store.id, 2)["model_id"]
    registry.set_alias(registry.register("tickets", model_id, {}), "champion")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHONPATH"))}
    path = os.pathsep.join((str(Path(python).parent), os.environ["PATH"]))  # MLflow starts uvicorn by its name
    return kept | {"PATH": path, "MLFLOW_TRACKING_URI": location.tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture
def expected(trained: TrainedSweep) -> list[str]:
    return [LABELS[max(range(3), key=row.__getitem__)] for row in trained.logits[2]]


def test_champion_loads_without_this_project(
    environment: dict[str, str], python: str, expected: list[str], tmp_path: Path
) -> None:
    absent = NOT_NEEDED[: 1 if python == sys.executable else None]
    command = [python, "-c", LOADED, json.dumps([TEXTS, IDS, absent])]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=START_S
    )
    assert done.returncode == 0, done.stderr
    answers, refusal, files = json.loads(done.stdout.splitlines()[-1])
    assert [row["label"] for row in answers] == expected
    assert {tuple(row["probabilities"]) for row in answers} == {LABELS}
    assert "row 1 has no text" in refusal
    assert files == []


@pytest.fixture(scope="module")
def server(environment: dict[str, str], python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of ``mlflow models serve`` on loopback; it ends with the module."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [python, "-m", "mlflow", "models", "serve", "--model-uri", "models:/tickets@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_S
        while not _answers(f"{address}/ping"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.5)
        yield address
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.ConnectionError:
        return False


def rows(texts: tuple[str | None, ...]) -> list[list[Any]]:
    return [list(row) for row in zip(IDS, texts, strict=False)]


@pytest.mark.parametrize(
    "payload",
    [
        {"dataframe_split": {"columns": ["Ticket ID", "Ticket text"], "data": rows(TEXTS)}},
        {"dataframe_records": [{"Ticket ID": 1, "Ticket text": text} for text in TEXTS]},
        {"inputs": {"Ticket ID": IDS, "Ticket text": list(TEXTS)}},
        {"inputs": list(TEXTS)},
    ],
    ids=["split", "records", "columns", "texts"],
)
def test_mlflow_serves_the_champion(server: str, expected: list[str], payload: dict[str, Any]) -> None:
    answer = requests.post(f"{server}/invocations", json=payload, timeout=60)
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    assert [row["label"] for row in predictions] == expected
    assert [row["probabilities"][row["label"]] for row in predictions] == [row["score"] for row in predictions]


def test_server_takes_the_parameter_calibrated(server: str) -> None:
    given = {"inputs": list(TEXTS), "params": {"calibrated": True}}
    answer = requests.post(f"{server}/invocations", json=given, timeout=60)
    assert (answer.status_code, "this adapter has no temperature" in answer.text) == (400, True)


def test_server_refuses_missing_text(server: str) -> None:
    frame = {"columns": ["Ticket ID", "Ticket text"], "data": rows(("fine", None))}
    answer = requests.post(f"{server}/invocations", json={"dataframe_split": frame}, timeout=60)
    assert (answer.status_code, "row 1 has no text" in answer.text) == (400, True)
