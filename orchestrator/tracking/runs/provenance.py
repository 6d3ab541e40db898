"""The code of a sweep: the checkout's commit and the versions of the packages with influence on results."""

import getpass
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("loratory", "torch", "transformers", "peft", "datasets", "optuna", "ray", "mlflow")
_TIMEOUT_S = 30
"""``git describe --dirty`` reads every file of a fresh checkout, on a busy machine for many seconds."""


def versions() -> dict[str, str]:
    """Return the versions of the installed packages, without importing them."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def commit(folder: Path | None) -> str | None:
    """Return the commit of the checkout in ``folder``, with ``-dirty`` if files differ; None without git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def user() -> str:
    """Return the login name, or ``unknown`` if the process has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
