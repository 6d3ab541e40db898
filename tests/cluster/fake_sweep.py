"""A small real sweep, ledger, study and coordinator included, over the fake engine."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

from orchestrator.cluster.executor import Executor, ignore_message
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import Choices, FloatRange, Parameter, Space
from orchestrator.core.sweeps.control import ControlKind, ControlRequest
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import Budget, Resources, SamplerName, SamplerPolicy, StoppingName, StoppingPolicy
from orchestrator.core.trials.trial import Decision, Report, TrialRecord
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.search.sweeps import open_sweep
from orchestrator.training.engine import Measure

POINTS = (1000, 2000, 3000, 4000)
METRIC = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


@dataclass
class Diary:
    """An observer with counters of its events; it can set ``stop`` after a number of reports."""

    started: Counter[int] = field(default_factory=Counter)
    reports: Counter[tuple[int, int]] = field(default_factory=Counter)
    decisions: Counter[tuple[int, int]] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)
    stop_after: int | None = None

    def prepared(self, plan: EnginePlan) -> None:
        """Not counted."""

    def trial_started(self, trial: TrialRecord) -> None:
        self.started[trial.number] += 1

    def reported(self, trial: TrialRecord, report: Report) -> None:
        self.reports[trial.number, report.nominal_samples] += 1
        if self.stop_after is not None and self.reports.total() >= self.stop_after:
            self.stop.set()

    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        self.decisions[trial.number, decision.nominal_samples] += 1

    def trial_ended(self, trial: TrialRecord) -> None:
        self.ended[trial.number] += 1

    def answered(self, request: ControlRequest) -> None:
        """Not counted."""


class RunOptions(TypedDict, total=False):
    """Options of one driver; by default trials run one at a time, without observers."""

    parallel: int
    measured: bool
    observers: Sequence[SweepObserver]
    stop: threading.Event
    say: Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class FakeSweep:
    """A sweep in a folder; each call of ``run`` is a new driver."""

    folder: Path
    trials: int = 8
    rule: StoppingName = StoppingName.ASHA
    tokens: int | None = None
    gpus: float = 0.0
    engine: EngineName = EngineName.SOLO
    epochs: tuple[float, ...] = (1.0,)
    """Choices of epochs; one epoch ends at the last report point."""
    sampler: SamplerName = SamplerName.RANDOM
    batch_sizes: tuple[int, ...] = ()
    """Choices of the batch size; empty: the default for all trials."""

    @property
    def engine_plan(self) -> EnginePlan:
        source = Source(origin=Origin.LOCAL, name="nothing")
        return EnginePlan(
            objective="fake",
            model=source,
            data=DataPlan(source=source),
            report_points=POINTS,
            rows_per_epoch=POINTS[-1],
            sweep_dir=str(self.folder),
            metric=METRIC.name,
            engine=self.engine,
        )

    @property
    def search_plan(self) -> SearchPlan:
        rates, epochs = FloatRange(low=1e-5, high=1e-1, log=True), Choices(choices=self.epochs)
        parameters = [Parameter(name="learning_rate", distribution=rates)]
        if len(self.epochs) > 1:
            parameters.append(Parameter(name="epochs", distribution=epochs))
        if self.batch_sizes:
            parameters.append(Parameter(name="batch_size", distribution=Choices(choices=self.batch_sizes)))
        return SearchPlan(
            space=Space(parameters=tuple(parameters)),
            metric=METRIC,
            timetable=self.engine_plan.timetable,
            budget=Budget(trials=self.trials, tokens=self.tokens),
            sampler=SamplerPolicy(name=self.sampler),
            stopping=StoppingPolicy(rule=self.rule, reports=len(POINTS)),
            seed=5,
        )

    @contextmanager
    def running(self, executor: Executor, **options: Unpack[RunOptions]) -> Iterator[Measure | None]:
        """Drive the sweep until the executor returns, and yield its measure."""
        stop, say = options.get("stop", threading.Event()), options.get("say", ignore_message)
        self.folder.mkdir(parents=True, exist_ok=True)
        ledger = self.ledger()
        sweep = open_sweep(ledger, "fake", {}, "")
        resources = Resources(
            parallel_trials=options.get("parallel", 1),
            measured=options.get("measured", False),
            gpus_per_trial=self.gpus,
        )
        with ledger.drivers.hold(sweep.id):
            observers = options.get("observers", ())
            coordinator = Coordinator(ledger, sweep, self.search_plan, observers=observers, poll_s=0.0)
            with executor.run(coordinator, self.engine_plan, resources, stop, say) as measure:
                yield measure

    def run(self, executor: Executor, **options: Unpack[RunOptions]) -> tuple[TrialRecord, ...]:
        """Drive the sweep until the executor returns; return the trials in the ledger."""
        with self.running(executor, **options):
            pass
        return self.records()

    def send(self, kind: ControlKind, trial: int | None = None) -> None:
        """Store a person's request, as another process does."""
        ledger = self.ledger()
        request = ControlRequest(id=0, kind=kind, by="anna@lab", at=time.time(), trial=trial)
        ledger.requests.add(ledger.sweeps.find("fake").id, request)
        ledger.close()

    def ledger(self) -> Ledger:
        return Ledger.open(f"sqlite:///{self.folder / 'ledger.db'}")

    def records(self) -> tuple[TrialRecord, ...]:
        ledger = self.ledger()
        return ledger.trials.all(ledger.sweeps.find("fake").id)


def decisions(records: Sequence[TrialRecord]) -> set[tuple[int, str, tuple[Decision, ...]]]:
    """Return all decisions, without their order in time."""
    return {(r.number, r.state.value, tuple(r.decisions[point] for point in sorted(r.decisions))) for r in records}
