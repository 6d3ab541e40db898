"""What holds for every test process."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.tracking.location import SQLITE, Location, connect
from tests import needs
from tests.plain_peft import PlainPeft

# Several test processes share the cores: threads of tiny products would wait for each other most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# And where a process was told to take two, they would spin while they wait, on a core that another test could use.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Ray's workers step back behind everything else, so beside other tests a sweep would hardly train.
os.environ.setdefault("RAY_worker_niceness", "0")

LONG = (
    "tests/e2e/test_resume.py",
    "tests/cluster/test_tune_packed.py",
    "tests/cluster/test_kill.py",
    "tests/e2e/test_first_light.py",
    "tests/cluster/test_tune.py",
    "tests/cli/test_story.py",
    "tests/tracking",
    "tests/e2e/test_determinism.py",
    "tests/training",
)
"""Where the tests are that take long, in the order in which they run: those that load both cores are not neighbours."""
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


@pytest.fixture(autouse=True, scope="module")
def frozen_imports() -> None:
    """Take what is imported out of the collector's sight: a collection over ten libraries takes most of a second."""
    gc.collect()
    gc.freeze()


def local(folder: Path) -> Location:
    """Return a local MLflow store in a folder."""
    uri = f"{SQLITE}{folder / 'mlflow.db'}"
    return Location(tracking_uri=uri, registry_uri=uri, artifacts=folder / "artifacts")


def copied(empty_store: Path, folder: Path) -> Location:
    """Return a local store in a folder, which is made if need be, with a copy of the database without runs."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(empty_store, folder / "mlflow.db")
    return local(folder)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local store's database without runs, to be copied: a new one costs seconds of migrations."""
    folder = tmp_path_factory.mktemp("store")
    connect(local(folder)).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def device() -> str:
    """Where models are trained; tests/gpu runs some of the same tests on a GPU."""
    return "cpu"


@pytest.fixture(scope="session")
def plain_peft() -> Iterator[PlainPeft]:
    """The oracle; it takes seconds to start, and is asked often."""
    with PlainPeft() as oracle:
        yield oracle


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what takes long first, so that no process is left alone with it at the end; mark what needs more.

    Tests marked ``extended`` run where ``-m`` names the marker: ``make test-extended``.
    """
    if "extended" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("extended") is not None]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if needs.bitsandbytes.mark in item.iter_markers("skipif"):
            item.add_marker(pytest.mark.qlora)
        if needs.deepspeed.mark in item.iter_markers("skipif"):
            item.add_marker(pytest.mark.deepspeed)
        if needs.cuda.mark in item.iter_markers("skipif"):
            item.add_marker(pytest.mark.gpu)
    items.sort(key=lambda item: next((i for i, path in enumerate(LONG) if item.nodeid.startswith(path)), len(LONG)))
