"""What a trial is told to do next, and what comes of it. These values cross process borders."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.core.errors import LoratoryError
from orchestrator.core.trial import Report, TrialTask


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """Train to the report point ``nominal_samples``; from there on to each next point until there is a new order."""

    nominal_samples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """Measure the checkpoint of report ``best_samples`` for the last time; None: there is none worth measuring."""

    best_samples: int | None


Order: TypeAlias = Advance | Finish


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A trial that gets a slot, and what it does there first."""

    task: TrialTask
    order: Order


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """The trial reached its report point."""

    report: Report


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
class Unusable:
    """The engine itself cannot be built, so no trial can run."""

    error: LoratoryError


Outcome: TypeAlias = Reported | Finished | Diverged | Unusable
