"""Import MLflow late and quietly, and check the import."""

import logging
import os
from types import ModuleType

from orchestrator.core.errors import TrackingError
from orchestrator.core.system.environment import set_environment_defaults

DEFAULTS = {
    # MLflow's log records then go to our handlers, instead of a handler of its own on the screen.
    "MLFLOW_CONFIGURE_LOGGING": "false",
    # MLflow's own seven retries of up to two minutes each would hold a thread for a quarter of an hour; we retry.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Nothing here uses the server's jobs; without them it is 2 processes instead of 10, and starts twice as fast.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
"""Set before the import of MLflow, unless set by the user; ``core.system.environment`` has switched telemetry off."""


def load_mlflow() -> ModuleType:
    """Import MLflow and return it; the first import takes seconds.

    Raises:
        TrackingError: MLflow is not installed. In a checkout ``import mlflow`` would then find the folder ``mlflow/``
            and return an empty namespace.
    """
    set_environment_defaults()
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        import mlflow
    except ImportError as error:
        raise TrackingError(f"mlflow cannot be imported ({error}); install it with: pip install mlflow") from error
    if not hasattr(mlflow, "MlflowClient"):
        paths = ", ".join(getattr(mlflow, "__path__", ())) or "an empty module"
        raise TrackingError(f"mlflow is not installed: import found {paths}; install it with: pip install mlflow")
    return mlflow
