"""Fixtures and settings of every test process."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from orchestrator.tracking.location import SQLITE, Location, connect
from tests import needs
from tests.plain_peft import PlainPeft

# Several test processes share the cores: with more threads, tiny matrix products would mostly wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Waiting threads must not spin: another test can use their core.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# By default Ray's workers have a low priority and would hardly train beside other tests.
os.environ.setdefault("RAY_worker_niceness", "0")

# Encoded rows of tests do not belong into the cache of this machine.
os.environ.setdefault("LORATORY_TOKENS", tempfile.mkdtemp(prefix="loratory-tokens-"))

# A run must not fail by chance: Hypothesis draws the same examples each time and limits no example's time, since other
# tests share the cores. Its option --hypothesis-profile=default draws others.
settings.register_profile("same-examples", derandomize=True, deadline=None)
settings.load_profile("same-examples")

LONG = (
    "tests/e2e/test_first_light.py",
    "tests/cli/test_story.py",
    "tests/cluster/test_ray_gone.py",
    "tests/training/packed/test_engine.py",
    "tests/cluster/test_kill.py",
    "tests/training/solo/test_engine.py",
    "tests/cluster/test_tune_packed.py",
    "tests/promotion",
    "tests/e2e",
    "tests/training/solo",
    "tests/cluster",
    "tests/tracking",
    "tests/test_api.py",
    "tests/serving",
    "tests/cli",
    "tests/training",
    "tests/faults",
    "tests/test_",
    "tests/search",
    "tests/objective",
)
"""Slow tests in their order. Those that wait for Ray's processes have neighbours that compute; short ones come last."""
COLLECTED = pytest.StashKey[tuple[str, ...]]()
"""Names of all collected tests, those left out by marks included."""
STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@pytest.fixture(autouse=True)
def tracking_environment() -> Iterator[None]:
    """Forget a test's stores: MLflow keeps their addresses for the process, and in variables that children inherit."""
    before = {name: os.environ.get(name) for name in STORES}
    yield
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True, scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep each module's sweeps apart: those of the checkout have names, generations and files that tests use too."""
    before = os.environ.get("LORATORY_HOME")
    os.environ["LORATORY_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["LORATORY_HOME"]
    else:
        os.environ["LORATORY_HOME"] = before


@pytest.fixture(autouse=True, scope="module")
def frozen_imports() -> None:
    """Exclude imported objects from garbage collection: over ten libraries it takes most of a second."""
    gc.collect()
    gc.freeze()


def local(folder: Path) -> Location:
    """Return a local MLflow store in a folder."""
    uri = f"{SQLITE}{folder / 'mlflow.db'}"
    return Location(tracking_uri=uri, registry_uri=uri, artifacts=folder / "artifacts")


def copied(empty_store: Path, folder: Path) -> Location:
    """Return a local store in a folder, created if necessary, with a copy of the database without runs."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(empty_store, folder / "mlflow.db")
    return local(folder)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a local store without runs, to be copied: a new one needs seconds for its migrations."""
    folder = tmp_path_factory.mktemp("store")
    connect(local(folder)).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def device() -> str:
    """The training device; tests/gpu runs some of the same tests on a GPU."""
    return "cpu"


@pytest.fixture(scope="session")
def plain_peft() -> Iterator[PlainPeft]:
    """The oracle, one for all tests because it starts slowly."""
    with PlainPeft() as oracle:
        yield oracle


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run slow tests first, so that no process ends with them alone; mark tests with extra requirements.

    Tests marked ``extended`` run where ``-m`` names the marker: ``make test-extended``.
    """
    config.stash[COLLECTED] = tuple(item.nodeid for item in items)
    if "extended" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("extended") is not None]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if needs.bitsandbytes.mark in item.iter_markers("skipif"):
            item.add_marker(pytest.mark.qlora)
        if needs.deepspeed.mark in item.iter_markers("skipif"):
            item.add_marker(pytest.mark.deepspeed)
        if needs.tensorflow.mark in item.iter_markers("skipif"):
            item.add_marker(pytest.mark.tensorflow)
        if needs.cuda.mark in item.iter_markers("skipif"):
            item.add_marker(pytest.mark.gpu)
    items.sort(key=lambda item: next((i for i, path in enumerate(LONG) if item.nodeid.startswith(path)), len(LONG)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests noted about themselves, such as how long a person's way takes."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value} ({report.nodeid})")


@pytest.fixture
def own_stores(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the ledger and the tracking store in the test's own folder."""
    for name in ("LORATORY_DB", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORATORY_MLFLOW_DIR", str(tmp_path / "mlflow"))
    copied(empty_store, tmp_path / "mlflow")
