"""Stores of every kind, each its test's own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.tracking.location import Location
from orchestrator.tracking.server import serve
from tests.conftest import local


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
