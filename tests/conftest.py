"""What holds for every test process."""

import os
from collections.abc import Iterator

import pytest

# Several test processes share the cores: threads of tiny products would wait for each other most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@pytest.fixture(autouse=True)
def tracking_environment() -> Iterator[None]:
    """Put the stores' variables back: MLflow writes what it is told into the environment, where children find it."""
    before = {name: os.environ.get(name) for name in STORES}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
