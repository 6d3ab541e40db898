"""The tracking store and the model registry: where they are, and a client for them."""

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from filelock import FileLock, Timeout

from orchestrator.core.errors import TrackingError
from orchestrator.core.sweeps.policy import Tracking
from orchestrator.core.system.secrets import redact
from orchestrator.tracking.environment import load_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
_DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mssql"})
"""MLflow's databases, by the scheme of an address without its driver."""
CREATION_S = 120.0
"""How long a process waits for another process creating the local store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A tracking store and a model registry.

    Attributes:
        tracking_uri: MLflow's tracking URI: an SQLite file or a server's address.
        registry_uri: MLflow's URI of the model registry.
        artifacts: folder of a local store's files; None for a server.
    """

    tracking_uri: str
    registry_uri: str
    artifacts: Path | None

    @property
    def is_server(self) -> bool:
        """Whether ``tracking_uri`` is the address of a server."""
        return self.tracking_uri.startswith(("http://", "https://"))

    @property
    def new_artifacts(self) -> Path | None:
        """The folder for files of a new experiment; None if the store chooses it.

        MLflow puts the files of a database without a server into ``mlruns`` in the working directory.
        """
        if self.artifacts is None and self.tracking_uri.partition(":")[0].partition("+")[0] in _DATABASES:
            return _folder() / "artifacts"
        return self.artifacts


def locate(tracking: Tracking | None = None) -> Location:
    """Return the location named in the sweep file, else ``MLFLOW_TRACKING_URI``, else the local store.

    The local store is ``mlflow/mlflow.db`` with its files in ``mlflow/artifacts``; ``LORATORY_MLFLOW_DIR`` names
    another folder.
    """
    tracking = tracking or Tracking()
    uri = tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{_folder() / 'mlflow.db'}"
    registry = tracking.registry_uri or os.environ.get("MLFLOW_REGISTRY_URI") or uri
    return Location(tracking_uri=uri, registry_uri=registry, artifacts=_artifacts(uri))


def connect(location: Location) -> "MlflowClient":
    """Return a client of ``location``; a new local store is created, by one process at a time.

    Raises:
        TrackingError: MLflow is not installed, or the store cannot be opened.
    """
    load_mlflow()
    from mlflow import MlflowClient

    if location.artifacts is None:
        return MlflowClient(location.tracking_uri, location.registry_uri)
    location.artifacts.mkdir(parents=True, exist_ok=True)
    with FileLock(location.artifacts.parent / "making.lock", timeout=CREATION_S):  # MLflow's migrations collide
        client = MlflowClient(location.tracking_uri, location.registry_uri)
        client.search_experiments(max_results=1)  # creates the tables
    return client


@contextmanager
def exclusive(uri: str, purpose: str) -> Iterator[None]:
    """Hold the lock of a store: one process of this machine at a time. A killed process loses the lock.

    The lock file is beside a local store's database; for a server it is in the folder of temporary files.

    Args:
        uri: the store's address.
        purpose: the name of the lock.

    Raises:
        TrackingError: another process holds the lock for too long.
    """
    if uri.startswith(SQLITE):
        folder, name = Path(uri.removeprefix(SQLITE)).absolute().parent, f"{purpose}.lock"
    else:
        folder = Path(tempfile.gettempdir())
        name = f"loratory-{os.getuid()}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}-{purpose}.lock"
    lock = FileLock(folder / name, timeout=CREATION_S)
    try:
        lock.acquire()
    except Timeout as error:
        raise TrackingError(
            f"another process has been writing to {redact(uri)} for {CREATION_S:.0f} s (lock file: {lock.lock_file}); "
            "wait for it and run the command again"
        ) from error
    try:
        yield
    finally:
        lock.release()


def holds_runs(location: Location, run_ids: Collection[str | None]) -> bool:
    """Return whether a local store has all of these runs, none of them deleted; False for a server.

    The database is read without MLflow: its import takes seconds. A database of another shape has no runs.
    """
    if location.artifacts is None:
        return False
    file = quote(location.tracking_uri.removeprefix(SQLITE))
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'").fetchall()
    except sqlite3.Error:
        return False
    return {run_id for (run_id,) in rows} >= {*run_ids}


def _folder() -> Path:
    return Path(os.environ.get("LORATORY_MLFLOW_DIR") or "mlflow").absolute()


def _artifacts(uri: str) -> Path | None:
    if not uri.startswith(SQLITE):
        return None
    return Path(uri.removeprefix(SQLITE)).absolute().parent / "artifacts"
