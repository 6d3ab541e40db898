"""A plain function as the task of a sweep: its place, its length, its metrics."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction

_REFERENCE = re.compile(r"(?P<path>.+\.py):(?P<name>[^:/\\]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionPlan:
    """A function that trains one trial.

    Attributes:
        path: absolute path of its ``.py`` file.
        name: name of the function in the file.
        samples: training samples of a trial, in the unit that the function reports.
        metrics: direction by metric, without a split's prefix: ``{"loss": MINIMIZE}``.
        python: the interpreter that runs it; None: the one that runs the sweep.
        test: name of the function in the same file that measures a kept checkpoint on test rows; None: none.
        digest: digest of the file when the sweep file was read; None: unknown, in sweeps of early versions.
    """

    path: str
    name: str
    samples: int
    metrics: Mapping[str, Direction] = field(default_factory=dict)
    python: str | None = None
    test: str | None = None
    digest: str | None = None

    @property
    def source(self) -> Source:
        """The source of model and data: the function reads both itself."""
        return Source(origin=Origin.FUNCTION, name=f"{Path(self.path).name}:{self.name}")

    @property
    def measured_splits(self) -> frozenset[str]:
        """The splits on which a kept checkpoint can be measured: ``test`` if the sweep file names a function for it."""
        return frozenset() if self.test is None else frozenset({"test"})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the plan stored by ``dataclasses.asdict``."""
        metrics = {name: Direction(value) for name, value in stored["metrics"].items()}
        return cls(**{**stored, "metrics": metrics})


def file_digest(path: str | Path) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def change_of(path: str, digest: str | None) -> str | None:
    """Return how a function's file differs from the one with this digest, in words; None if it does not, or None given.

    A missing file is a difference for every digest.
    """
    if not Path(path).is_file():
        return f"{path} is missing"
    if digest is not None and file_digest(path) != digest:
        return f"{path} has changed since its sweep started"
    return None


def split_reference(objective: str) -> tuple[str, str] | None:
    """Return file and function of an objective such as ``my_run.py:run``; None if it names no function."""
    match = _REFERENCE.fullmatch(objective)
    return None if match is None else (match["path"], match["name"])
