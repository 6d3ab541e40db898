"""How many trials have a seat at once: all, until memory runs out; then half of those that sat, from there on."""

import logging
from collections.abc import Collection, Container, Mapping

from orchestrator.training.packed.run import PackedRun
from orchestrator.training.process.memory import out_of_memory

logger = logging.getLogger(__name__)


class Headroom:
    """The bound that running out of memory sets; it never rises, for what did not fit once will not fit again."""

    def __init__(self) -> None:
        self._most: int | None = None

    def shrink(self, error: BaseException, trials: int) -> bool:
        """Halve the bound if an error says that memory ran out, and return whether going on makes sense.

        Args:
            error: what was raised while the trials trained, or were measured.
            trials: those that had a seat or were to have one; one alone that does not fit never will.
        """
        if trials < 2 or not out_of_memory(error):
            return False
        self._most = min(trials // 2, self._most or trials)
        logger.warning("out of memory with %d trials: going on with %d", trials, self._most)
        return True

    def admitted(self, runs: Mapping[PackedRun, int], seated: Container[int]) -> dict[PackedRun, int]:
        """Return those that there is memory for, first those that have a seat; the others wait.

        Trials of the solo engine take no seat, so they are not counted.
        """
        packed = sorted((run for run in runs if run.alone is None), key=lambda run: run.number not in seated)
        admitted = {*packed[: self._most]}
        return {run: point for run, point in runs.items() if run in admitted or run.alone is not None}

    def surplus(self, seated: Collection[int], admitted: Collection[PackedRun]) -> list[int]:
        """Return trials whose seats the admitted need: they are idle at a report, from which they will begin again."""
        if self._most is None:
            return []
        training = {run.number for run in admitted if run.alone is None}
        idle = [number for number in seated if number not in training]
        return idle[: max(0, len(training) + len(idle) - self._most)]
