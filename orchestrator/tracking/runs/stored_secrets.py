"""Find and mask passwords written to MLflow by an earlier version. MLflow cannot change parameters."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.system.secrets import redact
from orchestrator.ledger.stored_secrets import vacuum
from orchestrator.tracking.location import SQLITE, Location, connect
from orchestrator.tracking.runs.description import sweep_key
from orchestrator.tracking.runs.wording import SWEEP_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_TEXTS = (".yaml", ".html", ".json", ".csv", ".txt", ".md")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSecret:
    """One secret in a run: a tag, a parameter (unchangeable in MLflow) or a file, by name, with its masked value."""

    run_id: str
    kind: str
    name: str
    masked: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of run {self.run_id}"


def run_secrets(location: Location, sweep: SweepRecord) -> tuple[RunSecret, ...]:
    """Return the secrets in a sweep's runs.

    Raises:
        TrackingError: MLflow is not installed.
        Exception: any error of MLflow for an unreachable store.
    """
    if sweep.experiment_id is None:
        return ()
    client = connect(location)
    secrets: list[RunSecret] = []
    token = None
    while True:
        wanted = f"tags.`{SWEEP_TAG}` = '{sweep_key(sweep)}'"
        page = client.search_runs([sweep.experiment_id], wanted, page_token=token)
        for run in page:
            secrets += _in_run(client, run)
        token = page.token
        if not token:
            return tuple(secrets)


def mask_run_secrets(location: Location, secrets: tuple[RunSecret, ...]) -> None:
    """Mask the secrets in tags and files. Raises the errors of ``run_secrets``."""
    client = connect(location)
    for secret in secrets:
        if secret.kind == "tag":
            client.set_tag(secret.run_id, secret.name, secret.masked)
        elif secret.kind == "file":
            client.log_text(secret.run_id, secret.masked, secret.name)
    if location.tracking_uri.startswith(SQLITE):
        vacuum(Path(location.tracking_uri.removeprefix(SQLITE).partition("?")[0]))


def _in_run(client: "MlflowClient", run: "Run") -> Iterator[RunSecret]:
    run_id = str(run.info.run_id)
    for kind, values in (("tag", run.data.tags), ("parameter", run.data.params)):
        for name, value in values.items():
            if redact(value) != value:
                yield RunSecret(run_id=run_id, kind=kind, name=name, masked=redact(value))
    with tempfile.TemporaryDirectory() as folder:
        for name in _texts(client, run_id, None):
            content = Path(client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")
            if redact(content) != content:
                yield RunSecret(run_id=run_id, kind="file", name=name, masked=redact(content))


def _texts(client: "MlflowClient", run_id: str, folder: str | None) -> Iterator[str]:
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from _texts(client, run_id, item.path)
        elif item.path.endswith(_TEXTS):
            yield str(item.path)
