"""A new local store costs seconds of migrations, so tests copy one that was made once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.tracking.location import SQLITE, Location, connect
from orchestrator.tracking.server import serve


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    connect(local(folder)).search_experiments()
    return folder / "mlflow.db"


def local(folder: Path) -> Location:
    uri = f"{SQLITE}{folder / 'mlflow.db'}"
    return Location(tracking_uri=uri, registry_uri=uri, artifacts=folder / "artifacts")


@pytest.fixture
def local_store(empty_store: Path, tmp_path: Path) -> Location:
    folder = tmp_path / "mlflow"
    folder.mkdir()
    shutil.copy2(empty_store, folder / "mlflow.db")
    return local(folder)


@pytest.fixture(scope="session")
def served_store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Location]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copy2(empty_store, folder / "mlflow.db")
    with serve(local(folder), port=0, log=folder / "server.log") as address:
        yield Location(tracking_uri=address, registry_uri=address, artifacts=None)
