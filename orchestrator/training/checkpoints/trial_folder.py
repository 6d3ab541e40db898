"""Where a trial's checkpoints lie, when one is whole, and how one is committed.

``trials/0007/checkpoint-2000/`` holds ``adapter/`` (a plain PEFT folder), the state that training resumes from, and
``report.json``. The folder gets its name when everything is in it and on the disk, the report last: what has the name
is complete. The report also says whose the checkpoint is, and holds a digest of each file (``manifest``): what belongs
to another sweep or trial is not looked at, and what is damaged is not used.
"""

import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.core.manifest import REPORT, Manifest, Owner, read, seal, sync
from orchestrator.core.trial import Report

ADAPTER = "adapter"
STATE = "trainer_state.json"
"""Written by the Trainer; a checkpoint without it can be used, but training cannot resume from it."""
SLOT_STATE = "slot_state.safetensors"
"""The same, written by the packed engine. Neither engine resumes from the other's."""

_PREFIX = "checkpoint-"

logger = logging.getLogger(__name__)


class TrialFolder:
    """The checkpoints of one trial, by the nominal samples of their reports."""

    def __init__(self, sweep_dir: Path, number: int, state: str = STATE, owner: Owner | None = None) -> None:
        """Name the folder.

        Args:
            sweep_dir: the sweep's.
            number: the trial's.
            state: file without which an engine cannot resume from a checkpoint.
            owner: whose the checkpoints are; None: whoever's.
        """
        self._number = number
        self._owner = owner
        self.sweep_dir = sweep_dir
        self._state = state
        self.path = sweep_dir / "trials" / f"{number:04d}"

    @property
    def scratch(self) -> Path:
        """Folder for what is not committed yet."""
        return self.path / "unfinished"

    def checkpoint(self, nominal_samples: int) -> Path:
        """Return where the checkpoint of a report lies, or will."""
        return self.path / f"{_PREFIX}{nominal_samples}"

    def reference(self, nominal_samples: int) -> str:
        """Return the checkpoint's folder relative to the sweep's, as reports name it."""
        return self.checkpoint(nominal_samples).relative_to(self.sweep_dir).as_posix()

    def points(self) -> list[int]:
        """Return the nominal samples of the checkpoints on disk, ascending."""
        names = (path.name.removeprefix(_PREFIX) for path in self.path.glob(f"{_PREFIX}*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def report(self, nominal_samples: int) -> Report | None:
        """Return the report that was committed with a checkpoint; None if there is none, or it is another's."""
        found = self._manifest(nominal_samples)
        return None if found is None else found.report

    def newest_whole(self, *states: str) -> int | None:
        """Return the nominal samples of the newest checkpoint that training can resume from, or None.

        ``states`` are files of which one makes a checkpoint such; none given: the engine's own.

        What is damaged is removed, so that it is written again when the trial gets there.
        """
        for point in reversed(self.points()):
            found, folder = self._manifest(point), self.checkpoint(point)
            has_state = any((folder / name).exists() for name in states or (self._state,))
            if found is None or not has_state or not (folder / ADAPTER).exists():
                continue
            problem = found.damage(folder)
            if problem is None:
                return point
            logger.warning("%s", self.told(point, problem))
            self.discard(point)
        return None

    def foreign(self) -> list[int]:
        """Return the nominal samples of the checkpoints that are another sweep's or another trial's, ascending."""
        found = ((point, read(self.checkpoint(point))) for point in self.points())
        return [point for point, manifest in found if manifest is not None and not self._owns(manifest)]

    def damage(self, nominal_samples: int) -> str | None:
        """Return what is wrong with a checkpoint, in words; None if it is as it was written, or was pruned since.

        A checkpoint that was pruned has no state any more, and perhaps no adapter.
        """
        folder = self.checkpoint(nominal_samples)
        if not folder.exists():
            return None
        found = read(folder)
        if found is None:
            return f"{REPORT} is missing or cannot be read"
        if any((folder / name).exists() for name in (STATE, SLOT_STATE)):
            return found.damage(folder)
        return found.damage(folder, f"{ADAPTER}/") if (folder / ADAPTER).exists() else None

    def told(self, nominal_samples: int, problem: str) -> str:
        """Return the sentence that says that a checkpoint is not used."""
        checkpoint = f"the checkpoint at {nominal_samples:,} samples"
        return f"trial {self._number}: {checkpoint} is damaged and is not used: {problem}"

    def has_adapter(self, nominal_samples: int) -> bool:
        """Return whether a checkpoint of this trial has its adapter, as it was written."""
        found, folder = self._manifest(nominal_samples), self.checkpoint(nominal_samples)
        return found is not None and (folder / ADAPTER).is_dir() and found.damage(folder, f"{ADAPTER}/") is None

    def rewind(self, nominal_samples: int) -> None:
        """Remove a checkpoint and all later ones, so that the trial can be trained to it again."""
        for point in self.points():
            if point >= nominal_samples:
                self.remove(point)

    def discard(self, nominal_samples: int) -> None:
        """Remove what of a damaged checkpoint cannot be used: its state, or all of it if the adapter is damaged too."""
        if self.has_adapter(nominal_samples):
            self.prune({nominal_samples: False}, [nominal_samples])
        else:
            self.remove(nominal_samples)

    def commit(self, folder: Path, report: Report) -> None:
        """Make ``folder`` the checkpoint of ``report``: all of it or, if this process dies, nothing.

        Args:
            folder: on the same file system, with the adapter and the state in it; it is gone afterwards.
            report: is written into it, with whose it is and the digests of its files.

        Raises:
            OSError: the disk is full.
        """
        seal(folder, report, self._owner)
        target = self.checkpoint(report.nominal_samples)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
        sync(target.parent)

    def report_again(self, newest: int, due: Mapping[int, int]) -> list[Report]:
        """Report at the points that share the newest checkpoint's update and that an interrupted run did not reach.

        Args:
            newest: the newest whole checkpoint's point.
            due: the update after which each point is reported.
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
        """Remove what an interrupted run left uncommitted."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def prune(self, keep: Mapping[int, bool], points: Iterable[int] | None = None) -> None:
        """Delete what is not needed; reports stay as long as the trial's folder does.

        Args:
            keep: checkpoints whose adapter stays, by nominal samples, and whether the state to resume from stays too.
            points: checkpoints to look at; those committed since this list was made stay whole. None: all.
        """
        for point in self.points() if points is None else points:
            folder = self.checkpoint(point)
            if not (folder / REPORT).is_file():
                continue
            if not keep.get(point, False):
                # The state's own file goes first: should this process die here, the rest is not taken for whole.
                for state in (STATE, SLOT_STATE):
                    (folder / state).unlink(missing_ok=True)
                self._remove(folder, but={REPORT, ADAPTER})
            if point not in keep:
                self._remove(folder, but={REPORT})

    def remove(self, nominal_samples: int) -> None:
        """Delete a checkpoint with its report."""
        shutil.rmtree(self.checkpoint(nominal_samples), ignore_errors=True)

    def _manifest(self, nominal_samples: int) -> Manifest | None:
        """Return what the report of a checkpoint of this trial says; None if there is none."""
        found = read(self.checkpoint(nominal_samples))
        return found if found is not None and self._owns(found) else None

    def _owns(self, found: Manifest) -> bool:
        return self._owner is None or found.owner is None or self._owner.owns(found.owner)

    @staticmethod
    def _remove(folder: Path, but: set[str]) -> None:
        for path in [*folder.iterdir()]:
            if path.name in but:
                continue
            if path.is_dir():
                # Under another name first: should this process die here, what is left of it is not taken for damaged.
                gone = path.with_name(f".{path.name.lstrip('.')}")
                if path != gone:
                    shutil.rmtree(gone, ignore_errors=True)
                    path.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
