"""The test rows of a logged model: a file beside its adapter, for paired tests against later candidates."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.runs.wording import SWEEP_TAG, TRIAL_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

TEST_ROWS = "test_rows.json"


def log_test_rows(client: "MlflowClient", model_id: str, content: str) -> None:
    """Write the file of a logged model; a file cut off by a kill is written again."""
    if read_test_rows(client, model_id, client.tracking_uri) == content:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / TEST_ROWS
        file.write_text(content, encoding="utf-8")
        client.log_model_artifact(model_id, str(file))


def read_test_rows(client: "MlflowClient", model_id: str, tracking_uri: str) -> str | None:
    """Return the content of the file of a logged model; None: the model has none."""
    if not _exists(client, model_id):
        return None
    location = client.get_logged_model(model_id).artifact_location
    with tempfile.TemporaryDirectory() as folder:
        path = load_mlflow().artifacts.download_artifacts(
            artifact_uri=f"{location}/{TEST_ROWS}", tracking_uri=tracking_uri, dst_path=folder
        )
        return Path(path).read_text(encoding="utf-8")


def trial_of_model(client: "MlflowClient", model_id: str) -> tuple[str, int] | None:
    """Return the key of the sweep and the number of the trial of a logged model; None: another program logged it."""
    tags = client.get_logged_model(model_id).tags
    number = tags.get(TRIAL_TAG, "")
    return (tags[SWEEP_TAG], int(number)) if SWEEP_TAG in tags and number.isdecimal() else None


def _exists(client: "MlflowClient", model_id: str) -> bool:
    return any(each.path == TEST_ROWS for each in client.list_logged_model_artifacts(model_id))
