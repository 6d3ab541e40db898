"""The folder that holds the ledger and the sweeps' files, and the names of the folders in it."""

import os
from itertools import count
from pathlib import Path

from orchestrator.core.sweeps.sweep import SweepRecord


def home() -> Path:
    """Return the folder of the ledger and the sweeps' files: ``LORATORY_HOME``, or ``.loratory`` here."""
    return Path(os.environ.get("LORATORY_HOME") or ".loratory").absolute()


def sweep_dir(sweep: SweepRecord) -> Path:
    """Return the folder of a sweep's checkpoints, logs and report."""
    return folder_of(sweep.name, sweep.generation)


def folder_of(name: str, generation: int) -> Path:
    """Return the folder of the sweep ``name#generation``."""
    return home() / "sweeps" / f"{name}-{generation}"


def generations_on_disk(name: str) -> set[int]:
    """Return the generations of a sweep with trials in their folders."""
    folders = (path.parent for path in (home() / "sweeps").glob("*/trials") if any(path.iterdir()))
    parts = (folder.name.rpartition("-") for folder in folders)
    return {int(number) for stem, _, number in parts if stem == name and number.isdecimal()}


def free_generation(name: str, first: int) -> int:
    """Return the first generation from ``first`` on without trials in its folder."""
    on_disk = generations_on_disk(name)
    return next(generation for generation in count(first) if generation not in on_disk)


def has_sweeps(folder: Path) -> bool:
    """Return whether a home folder holds files of sweeps."""
    return any((folder / "sweeps").glob("*/*"))
