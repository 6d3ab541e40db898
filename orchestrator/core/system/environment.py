"""The environment of the process: quiet libraries, no telemetry, this program's command line, usable processors."""

import importlib.util
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.core.system.secrets import RedactingFormatter

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
    # oneDNN, which multiplies bfloat16 on CPUs, compiles a kernel for each shape, 0.6 ms each, and keeps 1,024 of them.
    # A pack whose trials differ in rank and batch size has several thousand shapes.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8192",
}
PROGRAM = "python -m orchestrator"
"""The general command line, for texts read on other machines."""


def set_environment_defaults() -> None:
    """Set each default variable missing from the environment.

    Call this before libraries are imported, which read the variables, and before child processes, which inherit them.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Libraries log without a handler of ours, through the last resort, to stderr.
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(RedactingFormatter())


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the duration of the context."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def program() -> str:
    """Return the command line of this program on this machine, quoted for a shell.

    It starts with ``python`` if the shell finds this interpreter under the name ``python``. Otherwise, as after
    ``make sweep`` without an activated environment, it starts with the interpreter's path.
    """
    running, python = Path(sys.executable).absolute(), shutil.which("python")
    # The interpreter of a virtual environment is a link to the base one, so its folder is compared too.
    if python and Path(python).absolute().parent == running.parent and Path(python).samefile(running):
        return PROGRAM
    below = Path.cwd() in running.parent.parents  # a shell searches PATH for a bare name
    return f"{shlex.quote(str(running.relative_to(Path.cwd()) if below else running))} -m orchestrator"


def usable_cores() -> int:
    """Return the number of processors available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def not_installed(package: str, needed_by: str) -> str | None:
    """Return a message with the install command if a package is missing, else None; nothing is imported."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:  # a folder left behind by pip has no origin
        return None
    return f"{needed_by} needs a package that is not installed; install it with: pip install {package}"
