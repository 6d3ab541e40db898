"""One trial's run in the packed engine, whether it has a slot, waits for one, or is trained by the solo engine."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.core.errors import DivergedError
from orchestrator.core.trial import Report, TrialTask
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from orchestrator.training.solo.engine import SoloRun

if TYPE_CHECKING:
    from orchestrator.training.packed.engine import PackedEngine


class PackedRun:
    """One trial; see ``TrialRun``. Asked by itself, it trains alone; ``PackedEngine.step`` trains several."""

    def __init__(self, engine: "PackedEngine", task: TrialTask, folder: TrialFolder) -> None:
        self._engine = engine
        self.task = task
        self.number = task.number
        self.folder = folder
        self.alone: SoloRun | None = None

    def advance(self, nominal_samples: int) -> Report:
        """Train on to a report point, or return the report that stands there already."""
        while True:
            outcome = self._engine.step({self: nominal_samples}).get(self)
            if isinstance(outcome, DivergedError):
                raise outcome
            if outcome is not None:
                return outcome

    def finish(self, best_samples: int) -> Mapping[str, float]:
        """Measure the best checkpoint on the shift sets, and free the slot."""
        try:
            return self._engine.finish(self, best_samples)
        finally:
            self.close()

    def close(self) -> None:
        """Free the slot."""
        if self.alone is not None:
            self.alone.close()
        self._engine.leave(self.number)


def advanced(run: SoloRun, point: int) -> Report | DivergedError:
    """Train a trial of the solo engine on to a report point, and return what a pack's step would."""
    try:
        return run.advance(point)
    except DivergedError as error:
        return error
