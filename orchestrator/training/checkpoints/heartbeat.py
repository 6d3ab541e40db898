"""How far a trial has trained between two reports: a file that its engine writes and the driver's views read.

It is an estimate for a person who waits: nothing decides by it, and it need not survive anything.
"""

import contextlib
import time
from pathlib import Path

from orchestrator.training.checkpoints.trial_folder import TrialFolder

PERIOD_S = 1.0
"""Seconds between two writes of one trial, at least."""
_FILE = "samples"


class Heartbeat:
    """Writes the training samples of one trial to its scratch folder, which every report empties."""

    def __init__(self, folder: TrialFolder) -> None:
        """Write to the scratch folder of ``folder``, the first time at once."""
        self._folder = folder
        self._next_s = 0.0

    def beat(self, samples: int) -> None:
        """Note that ``samples`` training samples were seen; most calls return without writing."""
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + PERIOD_S
        # A full disk ends the next checkpoint, which says so; a view without news does not end training.
        with contextlib.suppress(OSError):
            self._folder.scratch.mkdir(parents=True, exist_ok=True)
            written = self._folder.scratch / f"{_FILE}.new"
            written.write_text(str(samples), encoding="ascii")
            written.replace(self._folder.scratch / _FILE)


def samples_trained(sweep_dir: Path, number: int) -> int:
    """Return the training samples that a trial last noted since its newest report; 0 if it noted none."""
    try:
        return int((TrialFolder(sweep_dir, number).scratch / _FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
