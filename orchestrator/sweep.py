"""The whole story of a sweep, top to bottom: from the checked file to the kept adapters."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.core.observer import SweepObserver
from orchestrator.core.sweep import SweepRecord
from orchestrator.core.trial import TrialRecord
from orchestrator.spec.sweep_spec import SweepSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOptions:
    """How a sweep is run this time; nothing here changes what it finds."""

    inline: bool = False
    fresh: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What a sweep would do, for ``--dry-run``.

    Attributes:
        space: one row per parameter: name, domain in words, condition in words.
        report_points: nominal training samples at which trials report.
        rungs: the report points at which trials are compared.
        rows: number of rows by split.
        cost: estimates: ``trial_tokens``, ``sweep_tokens`` (upper bounds, real tokens) ...
    """

    space: tuple[tuple[str, str, str], ...]
    sampler: str
    stopping: str
    report_points: tuple[int, ...]
    rungs: tuple[int, ...]
    rows: Mapping[str, int]
    parallel_trials: int
    cost: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOutcome:
    """What a run of the driver came to."""

    sweep: SweepRecord
    records: tuple[TrialRecord, ...]
    finished: bool
    reason: str
    tracking_uri: str
    synced: bool


def plan_sweep(spec: SweepSpec) -> SweepPlan:
    """Return what the sweep would do, after reading its data."""
    raise NotImplementedError


def run_sweep(
    spec: SweepSpec, options: SweepOptions, observers: Sequence[SweepObserver], stop: threading.Event
) -> SweepOutcome:
    """Run the sweep, or go on with it, until its budget is spent or ``stop`` is set."""
    raise NotImplementedError
