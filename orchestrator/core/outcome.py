"""What a driver is asked for, and what its run came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.data import DataSummary
from orchestrator.core.sweep import SweepRecord
from orchestrator.core.trial import TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOptions:
    """How a sweep is run this time; nothing here changes what it finds.

    Attributes:
        inline: one trial after another in this process, without Ray.
        fresh: start a new sweep beside those of its name.
        began_at: when its person began to wait (the command was typed), in seconds since the epoch; None: at the call.
    """

    inline: bool = False
    fresh: bool = False
    began_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOutcome:
    """What a run of the driver came to.

    Attributes:
        finished: whether the budget was spent; False if the sweep was suspended and goes on with the same command.
        reason: why it ended, in words.
        tracking_uri: where the runs are recorded.
        synced: whether the tracker holds everything; False if some is still to be written.
        report: path of the report's page.
    """

    sweep: SweepRecord
    records: tuple[TrialRecord, ...]
    finished: bool
    reason: str
    tracking_uri: str
    synced: bool
    report: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What a sweep would do, for ``--dry-run``.

    Attributes:
        space: one row per parameter: name, distribution in words, condition in words.
        sampler: the sampler's name.
        stopping: the stopping rule's name.
        report_points: nominal training samples at which trials report.
        ends: samples at which trials end that nobody stops, ascending: several, if their epochs differ.
        rungs: the report points at which trials are compared.
        rows: number of rows by split.
        data_summary: counts of the rows used and left out.
        parallel_trials: trials at once.
        engine: the name of the engine that would train.
        why: of these two, where they were measured or tried.
        alone: which trials train by themselves although the others are packed, and why, a sentence each.
        cost: estimates: ``trial_tokens`` at most, and ``sweep_tokens`` where the budget says how many trials.
        notes: sentences about the model, adapter and data that a person should read before training.
    """

    space: tuple[tuple[str, str, str], ...]
    sampler: str
    stopping: str
    report_points: tuple[int, ...]
    ends: tuple[int, ...]
    rungs: tuple[int, ...]
    rows: Mapping[str, int]
    parallel_trials: int
    engine: str
    data_summary: DataSummary = field(default_factory=DataSummary)
    why: str = ""
    alone: tuple[str, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
