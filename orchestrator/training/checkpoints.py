"""Where a trial's checkpoints lie, when one is whole, and how one is committed.

``trials/0007/checkpoint-2000/`` holds ``adapter/`` (a plain PEFT folder), the state that training resumes from, and
``report.json``. The folder gets its name when everything is in it, the report last: what has the name is complete.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from orchestrator.core.trial import Report

ADAPTER = "adapter"
REPORT = "report.json"
STATE = "trainer_state.json"
"""Written by the Trainer; a checkpoint without it can be used, but training cannot resume from it."""
SLOT_STATE = "slot_state.safetensors"
"""The same, written by the packed engine. Neither engine resumes from the other's."""

_PREFIX = "checkpoint-"


class TrialFolder:
    """The checkpoints of one trial, by the nominal samples of their reports."""

    def __init__(self, sweep_dir: Path, number: int, state: str = STATE) -> None:
        """Name the folder.

        Args:
            sweep_dir: the sweep's.
            number: the trial's.
            state: file without which an engine cannot resume from a checkpoint.
        """
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
        """Return the report that was committed with a checkpoint, or None."""
        file = self.checkpoint(nominal_samples) / REPORT
        return Report(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    def newest_whole(self) -> int | None:
        """Return the nominal samples of the newest checkpoint that training can resume from, or None."""
        whole = (point for point in self.points() if self._is_whole(self.checkpoint(point)))
        return max(whole, default=None)

    def commit(self, folder: Path, report: Report) -> None:
        """Make ``folder`` the checkpoint of ``report``: all of it or, if this process dies, nothing.

        Args:
            folder: on the same file system, with the adapter and the state in it; it is gone afterwards.
            report: is written into it.
        """
        with (folder / REPORT).open("w", encoding="utf-8") as file:
            json.dump(asdict(report) | {"metrics": dict(report.metrics)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        target = self.checkpoint(report.nominal_samples)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)

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

    def _is_whole(self, folder: Path) -> bool:
        return all((folder / name).exists() for name in (REPORT, self._state, ADAPTER))

    @staticmethod
    def _remove(folder: Path, but: set[str]) -> None:
        for path in folder.iterdir():
            if path.name in but:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
