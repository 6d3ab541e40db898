"""The process's environment: quiet libraries, telemetry off, how to call this program again, usable processors."""

import importlib.util
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.core.secrets import RedactingFormatter

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
"""The command line in general, for pages and notes that are read on other machines too."""


def prepare() -> None:
    """Set every default that the environment does not already hold.

    Libraries read these when they are first imported, and child processes inherit them: call this before either.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    # What libraries log, they log without a handler of ours: to stderr, by the last resort.
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(RedactingFormatter())


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for as long as the context lasts."""
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
    """Return the command line that a person can type here, quoted for a shell.

    ``python`` serves if the shell finds this interpreter by that name; otherwise, as after ``make sweep`` without an
    activated environment, the interpreter is named by its path.
    """
    running, found = Path(sys.executable).absolute(), shutil.which("python")
    # A virtual environment's interpreter is a link to the base one: the same file in the same folder is this one.
    if found and Path(found).absolute().parent == running.parent and Path(found).samefile(running):
        return PROGRAM
    below = Path.cwd() in running.parent.parents  # a bare name would be looked for on PATH
    return f"{shlex.quote(str(running.relative_to(Path.cwd()) if below else running))} -m orchestrator"


def usable_cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def not_installed(package: str, needed_by: str) -> str | None:
    """Return that a package is missing and how to get it, in words, or None if it is installed; it is not imported."""
    if importlib.util.find_spec(package) is not None:
        return None
    return f"{needed_by} needs a package that is not installed; install it with: pip install {package}"
