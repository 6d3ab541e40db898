"""The progress of a trial between two reports, in a file written by its engine and read by the driver's views.

It is shown to the user only: no decision depends on it, and it may be lost.
"""

import contextlib
import time
from pathlib import Path

from orchestrator.training.checkpoints.trial_folder import TrialFolder

PERIOD_S = 1.0
"""Minimum time between two writes of one trial, in seconds."""
_FILE = "samples"


class Heartbeat:
    """Writes a trial's number of training samples so far to its scratch folder. Each report empties the folder."""

    def __init__(self, folder: TrialFolder) -> None:
        """Write to the scratch folder of ``folder``; the first call of ``beat`` writes at once."""
        self._folder = folder
        self._next_s = 0.0

    def beat(self, samples: int) -> None:
        """Record ``samples`` training samples; most calls return without writing."""
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + PERIOD_S
        # A full disk fails the next checkpoint, with a message. A missing heartbeat must not stop training.
        with contextlib.suppress(OSError):
            self._folder.scratch.mkdir(parents=True, exist_ok=True)
            written = self._folder.scratch / f"{_FILE}.new"
            written.write_text(str(samples), encoding="ascii")
            written.replace(self._folder.scratch / _FILE)


def samples_trained(sweep_dir: Path, number: int) -> int:
    """Return the training samples last recorded since the newest report; 0 if there is no record."""
    try:
        return int((TrialFolder(sweep_dir, number).scratch / _FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
