"""The location of runs, found without heavy imports."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.core.errors import TrackingError
from orchestrator.core.sweeps.policy import Tracking
from orchestrator.core.trials.trial import TrialState
from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import connect, holds_runs, locate
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.tracking.records import StoredSweep, description, sweep, trial

ROOT = Path(__file__).parents[2]


@pytest.fixture
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "LORATORY_MLFLOW_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_plain")
def test_the_local_store_lies_in_mlflow_here(tmp_path: Path) -> None:
    location = locate()
    assert location.tracking_uri == location.registry_uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert location.artifacts == tmp_path / "mlflow" / "artifacts"
    assert not location.is_server
    assert not (tmp_path / "mlflow").exists()  # reading creates nothing


@pytest.mark.usefixtures("_plain")
def test_location_prefers_file_then_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LORATORY_MLFLOW_DIR", "elsewhere")
    assert locate().artifacts == tmp_path / "elsewhere" / "artifacts"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://team:5000")
    location = locate()
    assert (location.tracking_uri, location.artifacts, location.is_server) == ("http://team:5000", None, True)
    named = locate(Tracking(uri=f"sqlite:///{tmp_path}/a/b.db", registry_uri="http://models:5000"))
    assert named.tracking_uri == f"sqlite:///{tmp_path}/a/b.db"
    assert named.registry_uri == "http://models:5000"
    assert named.artifacts == tmp_path / "a" / "artifacts"


@pytest.mark.usefixtures("_plain")
def test_no_store_puts_files_into_the_working_directory(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's default for a database without a server is ./mlruns; a named driver makes it such a database."""
    monkeypatch.setenv("LORATORY_MLFLOW_DIR", str(tmp_path / "own"))
    shutil.copy2(empty_store, tmp_path / "a.db")
    for uri, folder in ((f"sqlite+pysqlite:///{tmp_path}/a.db", "own"), (f"sqlite:///{tmp_path}/a.db", "")):
        location = locate(Tracking(uri=uri))
        store = StoredSweep(sweep(f"films{folder}"), trial(0, (0.7,), TrialState.COMPLETE))
        Synchroniser(store.ledger, store.id, description(), location).run()
        experiment = connect(location).get_experiment_by_name(f"films{folder}")
        assert experiment is not None
        assert experiment.artifact_location == (tmp_path / folder / "artifacts" / f"films{folder}").as_uri()
    assert not (tmp_path / "mlruns").exists()
    assert locate(Tracking(uri="postgresql+psycopg://ann@db/mlflow")).new_artifacts == tmp_path / "own" / "artifacts"
    assert locate(Tracking(uri="http://team:5000")).new_artifacts is None


def test_local_store_is_read_without_mlflow(tmp_path: Path, empty_store: Path) -> None:
    location = locate(Tracking(uri=f"sqlite:///{tmp_path}/a store.db"))
    assert not holds_runs(location, ["x"])
    assert not (tmp_path / "a store.db").exists()  # reading creates nothing
    shutil.copy2(empty_store, tmp_path / "a store.db")
    client = connect(location)
    kept, deleted = (client.create_run(client.create_experiment(name)).info.run_id for name in "ab")
    assert holds_runs(location, [kept, deleted])
    client.delete_run(deleted)
    assert holds_runs(location, [kept])
    for others in ([kept, deleted], [kept, "unknown"], [None]):
        assert not holds_runs(location, others)
    assert not holds_runs(locate(Tracking(uri="http://team:5000")), [])


def test_mlflow_folder_is_not_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load_mlflow()  # the real module is restored after the test
    (tmp_path / "mlflow").mkdir()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(TrackingError, match=r"mlflow is not installed: import found .*/mlflow; install it with: pip"):
        load_mlflow()
    monkeypatch.delitem(sys.modules, "mlflow")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(TrackingError, match=r"mlflow cannot be imported \(No module named 'mlflow'\)"):
        load_mlflow()


HEAVY = {"mlflow", "torch", "transformers", "peft", "pandas", "datasets", "ray", "optuna"}


def loaded(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    return set(done.stdout.splitlines()[-1].split())


def test_importing_our_packages_loads_nothing_heavy() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in ("tracking", "promotion", "serving")
        for path in (ROOT / "orchestrator" / room).rglob("*.py")
        if path.stem not in {"__init__", "adapter_model", "answer_model", "entity_model", "function_model"}  # in MLflow
    ]
    assert len(modules) > 15
    assert not loaded("\n".join(f"import {module}" for module in modules)) & HEAVY


def test_tracking_never_loads_torch(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from orchestrator.core.sweeps.policy import Tracking
from orchestrator.core.trials.trial import TrialState
from orchestrator.tracking.location import connect, holds_runs, locate
from orchestrator.tracking.runs.reconciler import Reconciler
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.tracking.records import StoredSweep, description, sweep, trial
store = StoredSweep(sweep(), trial(0, (0.5, 0.6), TrialState.COMPLETE))
location = locate(Tracking(uri="sqlite:///{tmp_path}/mlflow.db"))
reconciler = Reconciler(Synchroniser(store.ledger, store.id, description(), location), print)
reconciler.start()
assert reconciler.close(120)
"""
    modules = loaded(code)
    assert "mlflow" in modules
    assert not modules & {"torch", "transformers", "peft", "datasets", "ray", "optuna"}


def test_three_processes_make_one_local_store(tmp_path: Path) -> None:
    code = """
import time
from pathlib import Path
import mlflow
from orchestrator.tracking.location import connect, locate
Path(f"ready-{__import__('os').getpid()}").touch()
while not Path("go").exists():
    time.sleep(0.001)
print(len(connect(locate()).search_experiments()))
"""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent.parent.parent),
        "LORATORY_MLFLOW_DIR": "mlflow",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    while len([*tmp_path.glob("ready-*")]) < len(processes):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    for process in processes:
        output, errors = process.communicate(timeout=300)
        assert output == "1\n", errors


def test_telemetry_is_off() -> None:
    load_mlflow()
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert is_telemetry_disabled()
