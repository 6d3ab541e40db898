"""The registry, on a local store and on a server: versions, aliases, downloads."""

import subprocess
import sys
import uuid
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.core.errors import UserError
from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.registered.registry import ModelReference, Registry
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.tracking.records import description
from tests.tracking.trained import LABELS, TEXTS, TrainedSweep, trained_sweep


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedSweep:
    return trained_sweep(tmp_path_factory.mktemp("trained"), name=f"films-{uuid.uuid4().hex[:8]}")


@pytest.fixture(params=["local_store", "served_store"])
def location(request: pytest.FixtureRequest) -> Location:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Location)
    return found


@pytest.fixture
def models(trained: TrainedSweep, location: Location) -> dict[int, str]:
    trained.store.forget_cursors()
    Synchroniser(trained.store.ledger, trained.store.id, description(), location, trained.adapters).run()
    return {number: trained.store.ledger.cursors.load(trained.store.id, number)["model_id"] for number in (0, 2)}


@pytest.fixture
def name() -> str:
    return f"films-{uuid.uuid4().hex[:8]}"


def test_versions_and_aliases(location: Location, models: dict[int, str], name: str) -> None:
    registry = Registry(location)
    first = registry.register(name, models[0], {"trial": "0"})
    second = registry.register(name, models[2], {"trial": "2"})
    assert [(item.reference, item.model_id) for item in registry.versions(name)] == [
        (f"{name}/1", models[0]),
        (f"{name}/2", models[2]),
    ]
    assert registry.get(ModelReference.parse(name)).version == 2  # without a champion, the newest
    assert registry.set_alias(first, "champion") is None
    assert registry.get(ModelReference.parse(name)).version == 1
    before = registry.set_alias(second, "champion")
    assert before is not None
    assert before.version == 1
    assert registry.set_alias(second, "champion") is None  # the version has the alias already
    assert registry.get(ModelReference.parse(f"{name}@champion")).aliases == ("champion",)
    left, now = registry.move_back(name, "champion")
    assert (left.version, now.version) == (2, 1)
    assert registry.register(name, models[0], {"trial": "zero"}).tags["trial"] == "zero"
    assert len(registry.versions(name)) == 2
    assert name in registry.names()


def test_version_downloads_and_loads_by_uri(
    location: Location, models: dict[int, str], name: str, trained: TrainedSweep, tmp_path: Path
) -> None:
    registry = Registry(location)
    version = registry.register(name, models[2], {})
    registry.set_alias(version, "champion")
    folder = registry.download(registry.get(ModelReference.parse(name)), tmp_path / "copy")
    assert (folder / "adapter_model.safetensors").is_file()
    mlflow = load_mlflow()
    mlflow.set_tracking_uri(location.tracking_uri)
    mlflow.set_registry_uri(location.registry_uri)
    answers = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(pd.DataFrame({"text": TEXTS}))
    expected = [LABELS[max(range(3), key=row.__getitem__)] for row in trained.logits[2]]
    assert answers["label"].tolist() == expected


def test_names_that_the_registry_refuses(location: Location, models: dict[int, str]) -> None:
    with pytest.raises(UserError, match="a registered model cannot be called 'a/b'"):
        Registry(location).register("a/b", models[0], {})


LOGGED_MODEL_AS_SOURCE = """
import sys
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

client = MlflowClient(tracking_uri=sys.argv[1], registry_uri=sys.argv[1])
[experiment] = client.search_experiments()
model = client.create_logged_model(experiment.experiment_id)
client.create_registered_model("films")
try:
    client.create_model_version("films", f"models:/{model.model_id}", model_id=model.model_id)
except MlflowException as error:
    print(error.message)
"""


def test_sql_registry_seeks_sources_in_the_process_store(local_store: Location, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOGGED_MODEL_AS_SOURCE, local_store.tracking_uri]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert "Logged model with ID" in done.stdout
    assert "not found" in done.stdout
    assert (tmp_path / "mlflow.db").exists()  # the default store of a process


def test_version_without_adapter_is_refused(location: Location, name: str) -> None:
    client = connect(location)
    client.create_registered_model(name)
    client.create_model_version(name, "s3://somewhere/else")
    registry = Registry(location)
    with pytest.raises(UserError, match=f"{name}/1 does not come from an adapter logged by Loratory"):
        registry.download(registry.get(ModelReference.parse(name)))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("films", ModelReference(name="films")),
        ("films@champion", ModelReference(name="films", alias="champion")),
        ("films/3", ModelReference(name="films", version=3)),
        ("models:/films/3", ModelReference(name="films", version=3)),
    ],
)
def test_references(written: str, expected: ModelReference) -> None:
    assert ModelReference.parse(written) == expected


@pytest.mark.parametrize("written", ["", "/1", "@x", "films/", "films/0", "films/one", "films@", "a/b@c"])
def test_invalid_reference_is_refused(written: str) -> None:
    with pytest.raises(UserError, match="a model is NAME, NAME@alias or NAME/version"):
        ModelReference.parse(written)
