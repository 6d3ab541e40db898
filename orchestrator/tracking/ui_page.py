"""MLflow's web pages with telemetry switched off and its assistant closed. ``mlflow server`` runs this as its app.

The server already tells its pages to send nothing (``MLFLOW_DISABLE_TELEMETRY``). But their switch "Enable telemetry"
is a value in the browser's storage, and on by default: the page switches it off before MLflow's code runs. Another
value there says that the assistant has opened itself once; without it the assistant hides half of the charts.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

APP = "loratory-ui"
"""The app's name for ``mlflow server --app-name``."""

TELEMETRY = "mlflow.settings.telemetry.enabled_v1"
ASSISTANT = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
"""Keys in the browser's storage; a value set by a person stays."""


def create() -> "FastAPI":
    """Return MLflow's app; its assistant stays closed, and telemetry is off unless the user enabled it."""
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app as served

    page = Path(str(pages.static_folder)) / "index.html"
    if page.is_file() and "serve" in pages.view_functions:
        values = {ASSISTANT: "true", **({TELEMETRY: "false"} if MLFLOW_DISABLE_TELEMETRY.get() else {})}
        html = page.read_text(encoding="utf-8").replace("<head>", f"<head>{_script(values)}", 1)
        pages.view_functions["serve"] = lambda: html
    app: FastAPI = served
    return app


def _script(values: Mapping[str, str]) -> str:
    """Return a script for the page's head: it stores the values whose keys the browser does not have."""
    lines = (
        f'if (localStorage.getItem("{key}") === null) localStorage.setItem("{key}", "{value}");'
        for key, value in values.items()
    )
    return f"<script>\ntry {{ {' '.join(lines)} }} catch (error) {{}}\n</script>"


@contextmanager
def plugin() -> Iterator[dict[str, str]]:
    """Yield environment variables: with them ``mlflow server`` finds the app among installed packages.

    A checkout is not installed, so the path gets a folder with only the package's entry point.
    """
    with TemporaryDirectory(prefix="loratory-") as folder:
        entry = Path(folder) / "loratory_ui-0.dist-info"
        entry.mkdir()
        (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: loratory-ui\nVersion: 0\n", encoding="utf-8")
        (entry / "entry_points.txt").write_text(f"[mlflow.app]\n{APP} = {__name__}:create\n", encoding="utf-8")
        package = Path(__file__).parents[2]
        path = os.pathsep.join((folder, str(package), *filter(None, [os.environ.get("PYTHONPATH")])))
        yield {"PYTHONPATH": path}
