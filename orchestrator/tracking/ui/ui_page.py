"""MLflow's web pages with other defaults. ``mlflow server`` runs this as its app.

The defaults are values in the browser's storage; the page sets them before MLflow's code runs, and keeps those set by a
person:

- The switch "Enable telemetry" is off. The server already tells its pages to send nothing.
- The assistant has opened itself once. Otherwise it hides half of the charts.
- The news about aliases is read. Otherwise a window covers the list of registered models.
- The mode is "Model training". Otherwise an experiment opens with an empty page for language models.
- A sweep's experiment has the columns, filter and charts of its view. Otherwise it shows no metric. Once another sweep
  of the experiment has run, the page shows this one, unless the person changed the filter.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from orchestrator.tracking.ui.ui_view import ALL_VIEW, FILTER

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

APP = "loratory-ui"
"""The app's name for ``mlflow server --app-name``."""

TELEMETRY = "mlflow.settings.telemetry.enabled_v1"
ASSISTANT = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
NEWS = "_mlflow_model_registry_promo_modal_dismissed_v1"
MODE = "mlflow.workflowType_v1"
"""Keys in the browser's storage."""
TABLE = 'MLflowLocalStorage-1.1-ExperimentPage-["{}"]-ReactComponentState'
"""The key of an experiment's table, by the experiment's id."""
EXPERIMENTS = 200
"""Most experiments with a default table, the newest first."""
_SCRIPT = """
for (const [key, value] of Object.entries(VALUES)) {
  if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
}
const filter = (table) => JSON.parse(table).searchFilter;
for (const [key, table] of Object.entries(TABLES)) {
  const kept = localStorage.getItem(key);
  if (kept === null || (filter(kept) !== filter(table) && new RegExp(FILTER).test(filter(kept)))) {
    localStorage.setItem(key, table);
  }
}
"""


def create() -> "FastAPI":
    """Return MLflow's app; its assistant stays closed, and telemetry is off unless the user enabled it."""
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app as served

    page = Path(str(pages.static_folder)) / "index.html"
    if page.is_file() and "serve" in pages.view_functions:
        values = {ASSISTANT: "true", NEWS: "true", MODE: '"machine_learning"'}
        if MLFLOW_DISABLE_TELEMETRY.get():
            values[TELEMETRY] = "false"
        html = page.read_text(encoding="utf-8")

        def served_page() -> str:
            return html.replace("<head>", f"<head>{_script(values, _tables())}", 1)

        pages.view_functions["serve"] = served_page
    app: FastAPI = served
    return app


def _tables() -> dict[str, str]:
    """Return the view of each experiment that has one, by its key in the browser's storage."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(os.environ["MLFLOW_BACKEND_STORE_URI"])
        found = client.search_experiments(max_results=EXPERIMENTS, order_by=["last_update_time DESC"])
    except MlflowException:
        logger.exception("the experiments' views were not read")  # the pages work without them
        return {}
    return {TABLE.format(each.experiment_id): each.tags[ALL_VIEW] for each in found if ALL_VIEW in each.tags}


def _script(values: Mapping[str, str], tables: Mapping[str, str]) -> str:
    """Return a script for the page's head: it stores the values whose keys the browser does not have.

    A table is also stored if the browser has a filter of this program for other trials.
    """
    constants = {"VALUES": values, "TABLES": tables, "FILTER": FILTER}
    # An escaped "<" cannot end the script.
    plain = {name: json.dumps(each).replace("<", "\\u003c") for name, each in constants.items()}
    code = re.sub("VALUES|TABLES|FILTER", lambda found: plain[found[0]], _SCRIPT)
    return f"<script>\ntry {{ {code} }} catch (error) {{}}\n</script>"


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
        package = Path(__file__).parents[3]
        path = os.pathsep.join((folder, str(package), *filter(None, [os.environ.get("PYTHONPATH")])))
        yield {"PYTHONPATH": path}
