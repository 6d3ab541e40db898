"""A checkpoint's manifest: the sweep and trial that own it, and a digest of each of its files.

It is part of the checkpoint's ``report.json``, which is written last. Checkpoints of earlier versions have no manifest;
they are used without these checks.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.core.errors import UserError
from orchestrator.core.settings import TrialSettings
from orchestrator.core.trial import Report, TrialTask

REPORT = "report.json"

_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Whose a checkpoint is.

    Attributes:
        sweep: the sweep's key; empty: any sweep.
        task: the trial; with other settings or another seed it is another trial.
    """

    sweep: str
    task: TrialTask

    def to_json(self) -> dict[str, Any]:
        """Return the owner as plain JSON."""
        return {
            "sweep": self.sweep,
            "trial": self.task.number,
            "seed": self.task.seed,
            "settings": asdict(self.task.settings),
        }

    def owns(self, stored: Mapping[str, Any]) -> bool:
        """Return whether what ``to_json`` returned, perhaps in an earlier version, is this owner."""
        try:
            settings = TrialSettings.from_params(stored["settings"])
        except UserError:  # settings that this version does not know
            return False
        same = (stored["trial"], stored["seed"], settings) == (self.task.number, self.task.seed, self.task.settings)
        return same and (not self.sweep or not stored["sweep"] or stored["sweep"] == self.sweep)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A checkpoint's report and what it says of its files.

    Attributes:
        report: what was reported.
        owner: whose it is, as plain JSON; None: an earlier version does not say.
        files: digests by the files' paths in the checkpoint; None: an earlier version does not say.
    """

    report: Report
    owner: Mapping[str, Any] | None
    files: Mapping[str, str] | None

    def damage(self, folder: Path, below: str = "") -> str | None:
        """Return which file of a checkpoint is missing or has changed, in words; None if all are as they were.

        Args:
            folder: the checkpoint's.
            below: look only at files whose paths begin so.
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
    """Write the report and the digests of all files in ``folder``, and have all of it on the disk when this returns.

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
    """Return what a checkpoint's report says; None if there is none, or it is damaged."""
    try:
        document = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        digest = document.pop("digest", None)
        if digest is not None and digest != _digest_of(document):
            return None
        owner, files = document.pop("owner", None), document.pop("files", None)
        return Manifest(report=Report(**document), owner=owner, files=files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, AttributeError):  # no UTF-8, no JSON, or no report
        return None


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, _hash).hexdigest()


def _digest_of(document: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _hash() -> "hashlib._Hash":
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)  # type: ignore[return-value]
