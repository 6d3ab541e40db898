"""MLflow, imported late, kept quiet, and checked to be the real one."""

import logging
import os
from types import ModuleType

from orchestrator.core.environment import prepare
from orchestrator.core.errors import TrackingError

DEFAULTS = {
    # Its records then go where ours go, instead of to a handler of its own on the screen.
    "MLFLOW_CONFIGURE_LOGGING": "false",
    # MLflow's own seven retries of up to two minutes each would hold a thread for a quarter of an hour; we retry.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Nothing here uses the server's jobs; without them it is 2 processes instead of 10, and starts twice as fast.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
"""Set before MLflow is imported, unless the user has set them; ``core.environment`` has switched telemetry off."""


def load_mlflow() -> ModuleType:
    """Import MLflow and return it; the first time takes seconds.

    Raises:
        TrackingError: it is not installed. From a checkout's root ``import mlflow`` would then find the folder
            ``mlflow/`` and silently give an empty namespace.
    """
    prepare()
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        import mlflow
    except ImportError as error:
        raise TrackingError(f"mlflow cannot be imported ({error}); install it with: pip install mlflow") from error
    if not hasattr(mlflow, "MlflowClient"):
        places = ", ".join(getattr(mlflow, "__path__", ())) or "an empty module"
        raise TrackingError(f"mlflow is not installed: import found {places}; install it with: pip install mlflow")
    return mlflow
