"""Orders for trials, and the outcomes of their steps. These values cross process borders."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from orchestrator.core.errors import LoratoryError
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import Report, TrialTask


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """Train to the report point ``nominal_samples``."""

    nominal_samples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """Measure the checkpoint of report ``best_samples`` finally; None: the trial has no best checkpoint."""

    best_samples: int | None


Order: TypeAlias = Advance | Finish


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A trial with a slot, and its order."""

    task: TrialTask
    order: Order

    def following(self, timetable: Timetable) -> "Assignment | None":
        """Return the assignment of the next report point; None after the last one."""
        points = timetable.of(self.task.settings)
        if isinstance(self.order, Finish) or self.order.nominal_samples >= points[-1]:
            return None
        following = points[bisect_right(points, self.order.nominal_samples)]
        return replace(self, order=Advance(nominal_samples=following))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """The trial reached its report point; ``notes`` are warnings about its checkpoints, one sentence each."""

    report: Report
    notes: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.report.trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The final measurement of the trial."""

    number: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diverged:
    """A loss or a gradient of the trial is not finite."""

    number: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CutShort:
    """The engine cannot train the trial further; its reports count."""

    number: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Crashed:
    """The engine raised, or its process ``died``; this trial or another one was the cause.

    Attributes:
        out_of_memory: whether the engine raised for lack of memory. The death of a process does not tell its cause.
    """

    number: int
    reason: str
    died: bool = False
    out_of_memory: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Unusable:
    """No trial can run: the engine cannot be built, or the disk is not writable."""

    error: LoratoryError


StepOutcome: TypeAlias = Reported | Finished | Diverged | CutShort | Crashed | Unusable
