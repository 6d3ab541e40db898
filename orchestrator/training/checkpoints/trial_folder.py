"""The checkpoints of a trial: paths, commit, validation, removal.

``trials/0007/checkpoint-2000/`` holds ``adapter/`` (a plain PEFT folder), the training state and ``report.json``. A
checkpoint is written under another name, synced, and then renamed, so a folder with this name is complete. The report
also names the owner of the checkpoint and holds a digest of each file (see ``core.trials.manifest``). Checkpoints of
other sweeps or trials are ignored, and damaged checkpoints are not used.
"""

import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.core.trials.manifest import REPORT, Manifest, Owner, read, seal, sync
from orchestrator.core.trials.trial import Report

ADAPTER = "adapter"
STATE = "trainer_state.json"
"""State file of the solo engine; training cannot resume from a checkpoint without it."""
SLOT_STATE = "slot_state.safetensors"
"""State file of the packed engine. Neither engine resumes from the other's checkpoints."""

_PREFIX = "checkpoint-"

logger = logging.getLogger(__name__)


class TrialFolder:
    """The checkpoints of one trial, by the nominal samples of their reports."""

    def __init__(self, sweep_dir: Path, number: int, state: str = STATE, owner: Owner | None = None) -> None:
        """Refer to a trial's folder; create nothing.

        Args:
            sweep_dir: folder of the sweep.
            number: number of the trial.
            state: name of the engine's state file, ``STATE`` or ``SLOT_STATE``.
            owner: the trial's identity; None: accept checkpoints of any owner.
        """
        self._number = number
        self.owner = owner
        self.sweep_dir = sweep_dir
        self._state = state
        self.path = sweep_dir / "trials" / f"{number:04d}"

    def owns(self, stored: Mapping[str, object] | None) -> bool:
        """Return whether the stored owner of a file is this trial's; None: an earlier version stored no owner."""
        return self.owner is None or stored is None or self.owner.owns(stored)

    @property
    def scratch(self) -> Path:
        """Folder for uncommitted files."""
        return self.path / "unfinished"

    def checkpoint(self, nominal_samples: int) -> Path:
        """Return the path of a report's checkpoint, which may not exist yet."""
        return self.path / f"{_PREFIX}{nominal_samples}"

    def reference(self, nominal_samples: int) -> str:
        """Return the path of a checkpoint relative to the sweep's folder, as in reports."""
        return self.checkpoint(nominal_samples).relative_to(self.sweep_dir).as_posix()

    def points(self) -> list[int]:
        """Return the nominal samples of the checkpoints on disk, ascending."""
        names = (path.name.removeprefix(_PREFIX) for path in self.path.glob(f"{_PREFIX}*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def report(self, nominal_samples: int) -> Report | None:
        """Return the report of a checkpoint; None without a report, or if the checkpoint has another owner."""
        manifest = self._manifest(nominal_samples)
        return None if manifest is None else manifest.report

    def newest_whole(self, *states: str) -> int | None:
        """Return the nominal samples of the newest checkpoint with a valid training state, or None.

        Damaged files are removed, so that the trial writes them again.

        Args:
            states: accepted names of state files; none: the name given to the constructor.
        """
        for point in reversed(self.points()):
            manifest, folder = self._manifest(point), self.checkpoint(point)
            has_state = any((folder / name).exists() for name in states or (self._state,))
            if manifest is None or not has_state or not (folder / ADAPTER).exists():
                continue
            problem = manifest.damage(folder)
            if problem is None:
                return point
            logger.warning("%s", self.damage_message(point, problem))
            self.discard(point)
        return None

    def foreign(self) -> list[int]:
        """Return the nominal samples of the checkpoints of other owners, ascending."""
        manifests = ((point, read(self.checkpoint(point))) for point in self.points())
        return [point for point, manifest in manifests if manifest is not None and not self.owns(manifest.owner)]

    def damage(self, nominal_samples: int) -> str | None:
        """Return a description of a checkpoint's damage; None if it is intact or was pruned.

        A pruned checkpoint has no state, and possibly no adapter.
        """
        folder = self.checkpoint(nominal_samples)
        if not folder.exists():
            return None
        manifest = read(folder)
        if manifest is None:
            return f"{REPORT} is missing or cannot be read"
        if any((folder / name).exists() for name in (STATE, SLOT_STATE)):
            return manifest.damage(folder)
        return manifest.damage(folder, f"{ADAPTER}/") if (folder / ADAPTER).exists() else None

    def damage_message(self, nominal_samples: int, problem: str) -> str:
        """Return the message about a damaged checkpoint."""
        checkpoint = f"the checkpoint at {nominal_samples:,} samples"
        return f"trial {self._number}: {checkpoint} is damaged and is not used: {problem}"

    def has_adapter(self, nominal_samples: int) -> bool:
        """Return whether a checkpoint of this trial has an intact adapter."""
        manifest, folder = self._manifest(nominal_samples), self.checkpoint(nominal_samples)
        has_folder = manifest is not None and (folder / ADAPTER).is_dir()
        return has_folder and manifest is not None and manifest.damage(folder, f"{ADAPTER}/") is None

    def rewind(self, nominal_samples: int) -> None:
        """Remove a checkpoint and all later ones, so that the trial trains to it again."""
        for point in self.points():
            if point >= nominal_samples:
                self.remove(point)

    def discard(self, nominal_samples: int) -> None:
        """Remove the state of a damaged checkpoint, or all of it if the adapter is damaged too."""
        if self.has_adapter(nominal_samples):
            self.prune({nominal_samples: False}, [nominal_samples])
        else:
            self.remove(nominal_samples)

    def commit(self, folder: Path, report: Report) -> None:
        """Make ``folder`` the checkpoint of ``report``, atomically.

        Args:
            folder: a folder on the same file system with the adapter and the state; it is renamed.
            report: written into the folder, with the owner and the digests of the files.

        Raises:
            OSError: the disk is full.
        """
        seal(folder, report, self.owner)
        target = self.checkpoint(report.nominal_samples)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
        sync(target.parent)

    def report_again(self, newest: int, due: Mapping[int, int]) -> list[Report]:
        """Write the missing reports of the update of the newest checkpoint, and return them.

        Several report points may share one update. An interrupted process may have written only some of them.

        Args:
            newest: nominal samples of the newest complete checkpoint.
            due: the number of updates after which each point is reported.
        """
        done, again = self.report(newest), []
        for point, update in due.items():
            if done is not None and update == due[newest] and self.report(point) is None:
                copy = self.scratch / f"report-{point}"
                shutil.copytree(self.checkpoint(newest), copy)
                again.append(replace(done, nominal_samples=point, checkpoint=self.reference(point)))
                self.commit(copy, again[-1])
        return again

    def clear_scratch(self) -> None:
        """Remove uncommitted files."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def prune(self, keep: Mapping[int, bool], points: Iterable[int] | None = None) -> None:
        """Delete adapters and states; reports are never deleted.

        Args:
            keep: nominal samples of the adapters to keep; the value says whether the training state is kept too.
            points: nominal samples of the checkpoints to prune; None: all. Other checkpoints are not changed.
        """
        for point in self.points() if points is None else points:
            folder = self.checkpoint(point)
            if not (folder / REPORT).is_file():
                continue
            if not keep.get(point, False):
                # The state file goes first: if the process dies here, the rest does not count as a complete checkpoint.
                for state in (STATE, SLOT_STATE):
                    (folder / state).unlink(missing_ok=True)
                self._remove(folder, keep={REPORT, ADAPTER})
            if point not in keep:
                self._remove(folder, keep={REPORT})

    def remove(self, nominal_samples: int) -> None:
        """Delete a checkpoint with its report."""
        shutil.rmtree(self.checkpoint(nominal_samples), ignore_errors=True)

    def _manifest(self, nominal_samples: int) -> Manifest | None:
        """Return the manifest of a checkpoint of this trial, or None."""
        manifest = read(self.checkpoint(nominal_samples))
        return manifest if manifest is not None and self.owns(manifest.owner) else None

    @staticmethod
    def _remove(folder: Path, keep: set[str]) -> None:
        for path in [*folder.iterdir()]:
            if path.name in keep:
                continue
            if path.is_dir():
                # Renamed first: if the process dies here, the rest does not count as a damaged checkpoint.
                gone = path.with_name(f".{path.name.lstrip('.')}")
                if path != gone:
                    shutil.rmtree(gone, ignore_errors=True)
                    path.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
