"""Which code ran: the checkout's commit and the versions of the packages that decide results."""

import getpass
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("loratory", "torch", "transformers", "peft", "datasets", "optuna", "ray", "mlflow")


def versions() -> dict[str, str]:
    """Return the installed version of each package that is installed, without importing any."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit(folder: Path | None) -> str | None:
    """Return the commit that ``folder`` is a checkout of, with ``-dirty`` if files differ; None without git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def user() -> str:
    """Return the login name, or ``unknown`` where the system has none for this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
