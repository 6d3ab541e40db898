"""Small searches in simulated time: spaces, plans, learning curves, and an executor without an engine."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import Choices, Constant, FloatRange, IntRange, Parameter, ParamValue, Space
from orchestrator.core.sweeps.policy import Budget, Confirm, Confirmation, SamplerName, SamplerPolicy, StoppingPolicy
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import OUT_OF_MEMORY, Report, TrialRecord
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.memory import MemoryLedger
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.search.sweeps import open_sweep

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
POINTS = (1000, 2000, 3000, 4000, 5000, 6000)

SPACE = Space(
    parameters=(
        Parameter(name="learning_rate", distribution=FloatRange(low=1e-5, high=1e-2, log=True)),
        Parameter(name="rank", distribution=Choices(choices=(4, 8, 16))),
        Parameter(name="batch_size", distribution=IntRange(low=8, high=32, step=8)),
        Parameter(name="init", distribution=Choices(choices=("default", "gaussian"))),
        Parameter(
            name="lora_plus_ratio", distribution=FloatRange(low=1, high=16, log=True), when={"init": ("default",)}
        ),
        Parameter(name="alpha", distribution=Constant(value=32.0)),
    )
)
"""Every kind of distribution, and a condition."""

SWEEP = SweepRecord(
    id=1,
    name="sentiment",
    generation=1,
    status=SweepStatus.RUNNING,
    fingerprint={},
    spec_text="",
    created_at=0.0,
)
"""A sweep for a ledger in memory."""

GRID = Space(
    parameters=(
        Parameter(name="dropout", distribution=FloatRange(low=0.0, high=0.3, step=0.1)),
        Parameter(name="init", distribution=Choices(choices=("default", "gaussian"))),
        Parameter(name="rank", distribution=IntRange(low=4, high=8, step=4), when={"init": ("default",)}),
    )
)
"""4 · (2 + 1) = 12 points."""


def plan_of(
    *,
    space: Space = SPACE,
    trials: int | None = 9,
    sampler: SamplerName = SamplerName.RANDOM,
    stopping: StoppingPolicy | None = None,
    budget: Budget | None = None,
    start: tuple[Mapping[str, ParamValue], ...] = (),
    seed: int = 7,
    reports: int = len(POINTS),
    confirm: Confirmation | Confirm = Confirm.NONE,
) -> SearchPlan:
    """Return a search plan with the given values, and defaults for the rest; ``reports`` is the number per trial."""
    return SearchPlan(
        space=space,
        metric=ACCURACY,
        timetable=Timetable(points=POINTS[:reports]),
        budget=budget or Budget(trials=trials),
        sampler=SamplerPolicy(name=sampler),
        stopping=stopping or StoppingPolicy(),
        fixed={"weight_decay": 0.1},
        start_points=start,
        confirm=confirm,
        seed=seed,
    )


def report_of(trial: int, samples: int, accuracy: float, **metrics: float) -> Report:
    """Return a report with this validation accuracy and losses of 1."""
    losses = {"val/loss": 1.0, "train/loss": 1.0}
    values = {ACCURACY.name: accuracy, **losses, **{name.replace("__", "/"): v for name, v in metrics.items()}}
    checkpoint = f"trials/{trial:04d}/checkpoint-{samples}"
    return Report(
        trial=trial, nominal_samples=samples, metrics=values, checkpoint=checkpoint, started_at=0.0, ended_at=1.0
    )


def curve(record: TrialRecord, samples: int) -> Report:
    """Return a trial's report: best at a learning rate of 1e-3, better with rank, with diminishing returns."""
    settings = record.settings
    height = 0.9 - 0.1 * abs(math.log10(settings.learning_rate) + 3) + 0.001 * settings.rank - 0.1 * settings.dropout
    return report_of(record.number, samples, height * (1 - math.exp(-samples / 1500)), progress__tokens=30.0 * samples)


def run_out(coordinator: Coordinator, measure: Callable[[TrialRecord, int], Report] = curve) -> None:
    """Run a sweep to its end or to a pause, one step at a time; requests are answered before each step.

    The next step depends on the ledger only: first the most advanced trial, then a new one.
    """
    while coordinator.out_of_budget is None:
        coordinator.take_requests()
        if coordinator.paused:
            return
        left = [record for record in coordinator.records() if not record.ended]
        ready = [r for r in left if coordinator.needs_finish(r.number) or coordinator.next_point(r.number) is not None]
        if ready:
            step(coordinator, min(ready, key=lambda r: (-len(r.reports), r.number)), measure)
        elif coordinator.next_task() is None and not coordinator.flush_waiting():
            return


def step(coordinator: Coordinator, record: TrialRecord, measure: Callable[[TrialRecord, int], Report] = curve) -> None:
    """Make a trial's next step; a ``MemoryError`` of ``measure`` ends the trial as the executors end it."""
    if coordinator.needs_finish(record.number):
        coordinator.finish(record.number, {"shift/tweets/accuracy": 0.5})
        return
    samples = coordinator.next_point(record.number)
    assert samples is not None
    try:
        report = measure(record, samples)
    except MemoryError:
        coordinator.fail(record.number, f"{OUT_OF_MEMORY}crashed 2 times: MemoryError")
    else:
        coordinator.report(report)


class Killed(BaseException):
    """Simulates SIGKILL: nothing catches it."""


@contextmanager
def killed_before_commit(countdown: int) -> Iterator[None]:
    """Die before a commit, after ``countdown`` commits with changes in the ledger or Optuna's study."""
    left = countdown

    def note(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            connection.info["changed"] = True

    def count(connection: Connection) -> None:
        nonlocal left
        if connection.info.pop("changed", False):
            if left == 0:
                connection.connection.rollback()  # as the system does after the death of a process
                raise Killed
            left -= 1

    def forget(connection: Connection) -> None:
        connection.info.pop("changed", None)

    listeners: dict[str, Callable[..., None]] = {"before_cursor_execute": note, "commit": count, "rollback": forget}
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners.items():
            event.remove(Engine, name, listener)


def open_ledger(folder: Path) -> Ledger:
    """Return the ledger in a folder."""
    return Ledger.open(f"sqlite:///{folder / 'ledger.db'}")


def coordinator_of(folder: Path, plan: SearchPlan, name: str = "sentiment") -> Coordinator:
    """Return a new coordinator of the sweep, as in a new process."""
    ledger = open_ledger(folder)
    return Coordinator(ledger, open_sweep(ledger, name, {"space": 1}, "name: sentiment"), plan, poll_s=0.0)


def coordinator_in_memory(plan: SearchPlan) -> Coordinator:
    """Return a coordinator over a new ledger in memory."""
    return Coordinator(MemoryLedger(), SWEEP, plan)


def essence(coordinator: Coordinator) -> list[tuple[object, ...]]:
    """Return the parts of all records independent of interruptions."""
    return [
        (
            *(r.number, dict(r.params), r.seed, r.state, r.reason, r.reports, dict(r.decisions), dict(r.final)),
            *(r.confirms, r.origin),
        )
        for r in coordinator.records()
    ]
