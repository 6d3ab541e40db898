"""What a trial is told to do next, and what comes of it. These values cross process borders."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from orchestrator.core.errors import LoratoryError
from orchestrator.core.timetable import Timetable
from orchestrator.core.trial import Report, TrialTask


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """Train to the report point ``nominal_samples``."""

    nominal_samples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """Measure the checkpoint of report ``best_samples`` for the last time; None: there is none worth measuring."""

    best_samples: int | None


Order: TypeAlias = Advance | Finish


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A trial that has a slot, and what it does there."""

    task: TrialTask
    order: Order

    def following(self, timetable: Timetable) -> "Assignment | None":
        """Return what a trial does that goes on: it trains to its next report point; None if there is none."""
        points = timetable.of(self.task.settings)
        if isinstance(self.order, Finish) or self.order.nominal_samples >= points[-1]:
            return None
        following = points[bisect_right(points, self.order.nominal_samples)]
        return replace(self, order=Advance(nominal_samples=following))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """The trial reached its report point; ``told`` is what a person should know of its checkpoints, a sentence each."""

    report: Report
    told: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.report.trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The trial was measured for the last time."""

    number: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diverged:
    """The trial left the finite numbers before it could report."""

    number: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Crashed:
    """What the trial ran in raised, or ``died``, whether by this trial's doing or another's."""

    number: int
    reason: str
    died: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Unusable:
    """No trial can run: the engine cannot be built, or the disk cannot be written."""

    error: LoratoryError


StepOutcome: TypeAlias = Reported | Finished | Diverged | Crashed | Unusable
