"""Replay a search over the recorded trials of a table: the real coordinator, sampler and rule, in simulated time."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.cluster.inline import InlineExecutor
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import Confirm, Resources
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.ranking import ranked_by_score
from orchestrator.core.trials.trial import Decision, Report, TrialRecord, TrialState
from orchestrator.ledger.memory import MemoryLedger
from orchestrator.preparation.engine_plan import plan_search
from orchestrator.replay.engine import TableEngine
from orchestrator.replay.replicates import Replicates
from orchestrator.replay.table import TableTrial, TrialTable
from orchestrator.replay.task import timetable_of
from orchestrator.report.search_progress import NO_VALUE, standing
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.spec.sweep_spec import SweepSpec

MEASURED_SLOTS = 4
"""Trials at once in the replay of a sweep whose engine measures this number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Incumbent:
    """The best trial of a search after some training.

    Attributes:
        samples: training samples of all trials.
        trial: number of the trial.
        score: its value of the searched metric.
    """

    samples: int
    trial: int
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """The result of a replay.

    Attributes:
        metric: the searched metric.
        records: the trials; times in simulated seconds.
        recorded: the recorded trial of each trial, by number.
        samples: training samples of all trials.
        seconds: simulated duration of the search.
        trajectory: the best trial so far, one entry per improvement.
        decisions: in the order in which they were made.
        unknown: numbers of the trials that the rule continued beyond their record; they count with their known reports.
        reason: why the search ended.
    """

    metric: Metric
    records: tuple[TrialRecord, ...]
    recorded: Mapping[int, TableTrial]
    samples: int
    seconds: float
    trajectory: tuple[Incumbent, ...]
    decisions: tuple[Decision, ...]
    unknown: tuple[int, ...]
    reason: str

    @property
    def winner(self) -> TrialRecord | None:
        """The trial with the best score; None without any score."""
        return next(iter(ranked_by_score(self.records, self.metric)), None)

    @property
    def stopped(self) -> tuple[TrialRecord, ...]:
        """The trials stopped by the rule."""
        return tuple(r for r in self.records if r.state is TrialState.PRUNED and r.number not in self.unknown)


class _Trace(SweepObserver):
    """An observer with the decisions in their order, and the best trial so far."""

    def __init__(self, engine: TableEngine, metric: Metric) -> None:
        self.decisions: list[Decision] = []
        self.trajectory: list[Incumbent] = []
        self._engine = engine
        self._metric = metric
        self._best = NO_VALUE

    def prepared(self, plan: EnginePlan) -> None:
        """Do nothing."""

    def trial_started(self, trial: TrialRecord) -> None:
        """Do nothing."""

    def reported(self, trial: TrialRecord, report: Report) -> None:
        """Note the trial if its value is the best so far."""
        place = standing(report.metrics, self._metric)
        if place < self._best:
            self._best = place
            score = report.metrics[self._metric.name]
            self.trajectory.append(Incumbent(samples=self._engine.samples, trial=trial.number, score=score))

    def decided(self, trial: TrialRecord, decision: Decision) -> None:  # noqa: ARG002  (the protocol's signature)
        """Note the decision."""
        self.decisions.append(decision)

    def trial_ended(self, trial: TrialRecord) -> None:
        """Do nothing."""


def replay(table: TrialTable, spec: SweepSpec, seed: int) -> Replayed:
    """Return the result of a sweep file's search over the recorded trials, the same for the same seed.

    Args:
        table: the recorded trials.
        spec: the sweep file, from ``orchestrator.replay.task.spec_of``.
        seed: replaces the sweep's seed.

    Raises:
        UserError: the search needs trials or report points without a record.
    """
    return replay_plan(table, search_plan(table, spec, seed), slots_of(spec))


def search_plan(table: TrialTable, spec: SweepSpec, seed: int) -> SearchPlan:
    """Return the plan of a sweep file's search with another seed, without the trainings with fresh seeds."""
    return replace(plan_search(spec, timetable_of(table, spec)), seed=seed, confirm=Confirm.NONE)


def slots_of(spec: SweepSpec) -> int:
    """Return the number of trials at once."""
    most = spec.resources.parallel_trials
    return min(MEASURED_SLOTS, most) if spec.resources.measured else most


def in_recorded_order(table: TrialTable, plan: SearchPlan) -> SearchPlan:
    """Return a plan with the recorded trials as start points: it tries them in their order."""
    trials = sorted(table.trials, key=lambda trial: (trial.sweep, trial.number))
    return replace(plan, start_points=tuple(trial.params for trial in trials))


def replay_plan(table: TrialTable, plan: SearchPlan, slots: int) -> Replayed:
    """Return the result of a search over the recorded trials.

    Args:
        table: the recorded trials.
        plan: the search; the recorded configurations become its candidates.
        slots: number of trials at once.

    Raises:
        UserError: as for ``replay``.
    """
    missing = sorted({*plan.timetable.points} - {*table.points})
    if missing:
        raise UserError(
            f"early_stopping.reports: {table.name} has no report at {', '.join(map(str, missing))} samples; recorded "
            f"report points: {', '.join(map(str, table.points))}"
        )
    replicates = Replicates(table, plan.space, plan.fixed)
    engine = TableEngine(replicates, table.metric, slots * slot_samples_per_s(table))
    trace = _Trace(engine, plan.metric)
    coordinator = Coordinator(
        MemoryLedger(),
        _sweep(table),
        replace(plan, candidates=replicates.candidates),
        observers=(trace,),
        clock=engine.time,
        timer=engine.time,
    )
    resources = Resources(engine=EngineName.PACKED, parallel_trials=slots)
    with InlineExecutor(lambda _plan: engine).run(coordinator, _engine_plan(table, plan), resources, threading.Event()):
        pass
    return Replayed(
        metric=plan.metric,
        records=coordinator.records(),
        recorded=dict(engine.replayed),
        samples=engine.samples,
        seconds=engine.time(),
        trajectory=tuple(trace.trajectory),
        decisions=tuple(trace.decisions),
        unknown=tuple(sorted(engine.unknown)),
        reason=coordinator.exhausted_reason or "",
    )


def slot_samples_per_s(table: TrialTable) -> float:
    """Return the mean throughput of one recorded trial; 1 without recorded times."""
    samples = sum(trial.reports[-1].samples for trial in table.trials if trial.reports)
    seconds = sum(report.seconds for trial in table.trials for report in trial.reports)
    return samples / seconds if samples and seconds > 0 else 1.0


def _sweep(table: TrialTable) -> SweepRecord:
    return SweepRecord(
        id=1,
        name=table.name,
        generation=1,
        status=SweepStatus.RUNNING,
        fingerprint={},
        spec_text=table.spec_text,
        created_at=0.0,
    )


def _engine_plan(table: TrialTable, plan: SearchPlan) -> EnginePlan:
    """Return a plan with the report points; a table engine reads nothing else of it."""
    source = Source(origin=Origin.LOCAL, name=table.name)
    return EnginePlan(
        objective=table.name,
        model=source,
        data=DataPlan(source=source),
        report_points=plan.timetable.points,
        rows_per_epoch=plan.timetable.rows_per_epoch,
        sweep_dir="",
        metric=plan.metric.name,
        engine=EngineName.PACKED,
    )
