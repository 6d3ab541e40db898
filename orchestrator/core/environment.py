"""The process environment that keeps libraries quiet and telemetry off, unless the user says otherwise."""

import os

DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # MLflow sends the local store's progress to stderr while it makes the tables.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def prepare() -> None:
    """Set every default that the environment does not already hold.

    Libraries read these when they are first imported, and child processes inherit them: call this before either.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
