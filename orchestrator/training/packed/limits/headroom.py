"""How many trials have a slot at once: all until memory runs out, then half as many."""

import logging
from collections.abc import Collection

from orchestrator.training.process.memory import out_of_memory

logger = logging.getLogger(__name__)


class Headroom:
    """An upper bound on the trials with a slot; each out-of-memory error halves it, and it never rises."""

    def __init__(self) -> None:
        self._most: int | None = None

    def shrink(self, error: BaseException, trials: int) -> bool:
        """Halve the bound after an out-of-memory error; return whether fewer trials may succeed.

        Args:
            error: raised while the trials trained or were measured.
            trials: number of trials with a slot, or about to get one. A single trial cannot be halved.
        """
        if trials < 2 or not out_of_memory(error):
            return False
        self._most = min(trials // 2, self._most or trials)
        logger.warning("out of memory with %d trials: continuing with %d", trials, self._most)
        return True

    def admitted(self, trials: Collection[int], holders: Collection[int]) -> list[int]:
        """Return the trials for which memory suffices, at most the bound; trials with a slot come first."""
        return sorted(trials, key=lambda number: number not in holders)[: self._most]

    def surplus(self, holders: Collection[int], admitted: Collection[int]) -> list[int]:
        """Return the idle trials in the way of the admitted trials.

        An idle trial waits at a report, so it can resume from its newest checkpoint later.
        """
        if self._most is None:
            return []
        idle = [number for number in holders if number not in admitted]
        return idle[: max(0, len(admitted) + len(idle) - self._most)]
