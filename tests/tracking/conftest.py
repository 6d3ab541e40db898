"""A local store and a served store, new for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.tracking.location import Location
from orchestrator.tracking.ui.server import serve
from tests.conftest import copied


@pytest.fixture
def local_store(empty_store: Path, tmp_path: Path) -> Location:
    return copied(empty_store, tmp_path / "mlflow")


@pytest.fixture(scope="session")
def served_store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Location]:
    folder = tmp_path_factory.mktemp("served")
    with serve(copied(empty_store, folder), port=0, log=folder / "server.log") as address:
        yield Location(tracking_uri=address, registry_uri=address, artifacts=None)
