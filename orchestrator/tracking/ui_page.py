"""MLflow's pages with their own telemetry switched off. The processes of ``mlflow server`` run this as their app.

The server already tells its pages to send nothing (``MLFLOW_DISABLE_TELEMETRY``). Their switch "Enable telemetry" is a
value in the browser's storage, though, and is on until somebody sets it: the page sets it before MLflow's code runs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

APP = "loratory-ui"
"""The app's name for ``mlflow server --app-name``."""

SWITCH = "mlflow.settings.telemetry.enabled_v1"
"""The key in the browser's storage; a person who has set the switch keeps it so."""

_SCRIPT = f"""<script>
try {{ if (localStorage.getItem("{SWITCH}") === null) localStorage.setItem("{SWITCH}", "false"); }} catch (error) {{}}
</script>"""


def create() -> "FastAPI":
    """Return MLflow's app with the switch off on its one page, unless the user switched MLflow's telemetry on."""
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app as served

    page = Path(str(pages.static_folder)) / "index.html"
    if MLFLOW_DISABLE_TELEMETRY.get() and page.is_file() and "serve" in pages.view_functions:
        html = page.read_text(encoding="utf-8").replace("<head>", f"<head>{_SCRIPT}", 1)
        pages.view_functions["serve"] = lambda: html
    app: FastAPI = served
    return app


@contextmanager
def plugin() -> Iterator[dict[str, str]]:
    """Yield the environment in which ``mlflow server`` finds the app, which it looks up among installed packages.

    A checkout is not installed, so a folder with nothing but that entry is put on the path.
    """
    with TemporaryDirectory(prefix="loratory-") as folder:
        entry = Path(folder) / "loratory_ui-0.dist-info"
        entry.mkdir()
        (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: loratory-ui\nVersion: 0\n", encoding="utf-8")
        (entry / "entry_points.txt").write_text(f"[mlflow.app]\n{APP} = {__name__}:create\n", encoding="utf-8")
        package = Path(__file__).parents[2]
        path = os.pathsep.join((folder, str(package), *filter(None, [os.environ.get("PYTHONPATH")])))
        yield {"PYTHONPATH": path}
