"""The manifest of a checkpoint, read and written on disk: its owner, and a digest of each of its files.

It is part of the checkpoint's ``report.json``, the file written last. Checkpoints of earlier versions have no manifest
and are used without these checks.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.core.errors import UserError
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask

REPORT = "report.json"

_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The owner of a checkpoint.

    Attributes:
        sweep: the sweep's key; empty: any sweep.
        task: the trial; other settings or another seed make another trial.
    """

    sweep: str
    task: TrialTask

    def to_json(self) -> dict[str, Any]:
        """Return the owner as plain JSON."""
        return {
            "sweep": self.sweep,
            "trial": self.task.number,
            "seed": self.task.seed,
            "settings": self.task.settings.to_json(),
        }

    def owns(self, stored: Mapping[str, Any]) -> bool:
        """Return whether the JSON of an owner, of this or an earlier version, means this owner."""
        try:
            settings = TrialSettings.from_params(stored["settings"])
        except UserError:  # settings of another version
            return False
        same = (stored["trial"], stored["seed"], settings) == (self.task.number, self.task.seed, self.task.settings)
        return same and (not self.sweep or not stored["sweep"] or stored["sweep"] == self.sweep)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A checkpoint's report, owner and files.

    Attributes:
        report: the report.
        owner: the owner as plain JSON; None: unknown, written by an earlier version.
        files: digest by path in the checkpoint; None: unknown, written by an earlier version.
    """

    report: Report
    owner: Mapping[str, Any] | None
    files: Mapping[str, str] | None

    def damage(self, folder: Path, below: str = "") -> str | None:
        """Return the first missing or changed file of a checkpoint, in words; None if all are intact.

        Args:
            folder: the checkpoint's folder.
            below: prefix of the paths to be checked.
        """
        for name, digest in (self.files or {}).items():
            if not name.startswith(below):
                continue
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if _digest(file) != digest:
                return f"the contents of {name} have changed"
        return None


def seal(folder: Path, report: Report, owner: Owner | None) -> None:
    """Write the report with the digests of all files in ``folder``, and flush everything to the disk.

    Raises:
        OSError: the disk is full.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != REPORT)
    document = {
        **asdict(report),
        "metrics": dict(report.metrics),
        "owner": None if owner is None else owner.to_json(),
        "files": {path.relative_to(folder).as_posix(): _digest(path) for path in files},
    }
    for path in files:
        sync(path)
    with (folder / REPORT).open("w", encoding="utf-8") as stream:
        json.dump({**document, "digest": _digest_of(document)}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        sync(path)


def read(folder: Path) -> Manifest | None:
    """Return the manifest of a checkpoint; None if it is missing or damaged."""
    try:
        document = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        digest = document.pop("digest", None)
        if digest is not None and digest != _digest_of(document):
            return None
        owner, files = document.pop("owner", None), document.pop("files", None)
        return Manifest(report=Report(**document), owner=owner, files=files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, AttributeError):  # not UTF-8, not JSON, or not a report
        return None


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(file: Path, text: str) -> None:
    """Write a file in UTF-8; after a kill or a power cut it holds the earlier or the new text, whole.

    Raises:
        OSError: the disk is full.
    """
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    sync(unfinished)
    unfinished.replace(file)
    sync(file.parent)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, _hash).hexdigest()


def _digest_of(document: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _hash() -> "hashlib._Hash":
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)  # type: ignore[return-value]  # file_digest has a private type
