"""The cost of a sweep itself, by its number of trials: a fake engine without work, and every other part real.

    python -m benchmarks.many_trials [--trials 2000] [--halvings 4] [--rounds 1] [--ray] [--profile FOLDER]

Sweeps of TRIALS/16, TRIALS/8 … TRIALS trials, each in a process and a folder of its own: ledger and Optuna study in
SQLite, TPE over the space of sweeps/sentiment.yaml, asha, retention, plain lines, MLflow's local store. Inline, one
trial at a time; with ``--ray`` packed under Tune, 8 at once. The time runs from the opened stores to the last write of
the last run. Then the usual actions on a sweep of this size are timed: another proposal, ``status``, ``report``, the
runs sorted by their metric, one drawing of the live table.

Prints seconds, CPU seconds of the driver's and the tracker's thread, and time(N) / time(N/4). On a shared machine the
function calls of each thread per trial are more reliable; ``--profile`` counts them.
"""

import cProfile
import hashlib
import io
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.lines import Lines
from orchestrator.cli.live import LiveView
from orchestrator.cli.progress import Progress
from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import Choices, FloatRange, Parameter, Space
from orchestrator.core.sweeps.facts import FactChanges
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import Budget, Resources
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.system.environment import set_environment_defaults
from orchestrator.core.trials.timetable import Timetable
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.search.sweeps import open_sweep
from orchestrator.tracking.location import Location, connect, locate
from orchestrator.tracking.runs.description import DataInput, SweepDescription
from orchestrator.tracking.runs.reconciler import Reconciler
from orchestrator.tracking.runs.synchroniser import Synchroniser
from orchestrator.training.checkpoints.retention import Retention
from tests.fakes.fake_engine import FakeEngineFactory

METRIC = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
POINTS = tuple(range(1000, 7000, 1000))
TIMETABLE = Timetable(points=POINTS)
KEEP = 3
SPACE = Space(
    parameters=(
        Parameter(name="learning_rate", distribution=FloatRange(low=1e-4, high=3e-3, log=True)),
        Parameter(name="rank", distribution=Choices(choices=(4, 8, 16, 32))),
        Parameter(name="dropout", distribution=FloatRange(low=0.0, high=0.2, step=0.05)),
        Parameter(name="weight_decay", distribution=Choices(choices=(0.0, 0.01, 0.1))),
        Parameter(name="warmup_ratio", distribution=Choices(choices=(0.0, 0.03, 0.1))),
        Parameter(name="batch_size", distribution=Choices(choices=(16, 32))),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """The cost of one sweep, in seconds. ``essence`` is a digest of all proposals and decisions.

    Reports are counted because a longer search may make more of them per trial: later trials are better and train
    longer.
    """

    trials: int
    reports: int
    wall_s: float
    behind_s: float
    driver_cpu_s: float
    tracker_cpu_s: float
    reopen_s: float
    ask_s: float
    status_s: float
    report_s: float
    runs_s: float
    frame_s: float
    essence: str


class Clocked:
    """A synchroniser with the CPU time of its passes, all in one thread."""

    def __init__(self, synchroniser: Synchroniser, profile: Path | None) -> None:
        self._synchroniser = synchroniser
        self._profiler = None if profile is None else cProfile.Profile(time.thread_time)
        self._profile = profile
        self.cpu_s = 0.0

    def run(self) -> tuple[str, ...]:
        began = time.thread_time()
        try:
            with profiled(self._profiler, self._profile):
                return self._synchroniser.run()
        finally:
            self.cpu_s += time.thread_time() - began


@contextmanager
def profiled(profiler: cProfile.Profile | None, file: Path | None) -> Iterator[None]:
    """Profile this thread during the block and write the profile to the file; do nothing without a profiler."""
    if profiler is None or file is None:
        yield
        return
    with profiler:
        yield
    profiler.dump_stats(file)


def search_plan(trials: int) -> SearchPlan:
    return SearchPlan(space=SPACE, metric=METRIC, timetable=TIMETABLE, budget=Budget(trials=trials), seed=7)


def progress_of(trials: int) -> Progress:
    return Progress(metric=METRIC, budget=Budget(trials=trials), timetable=TIMETABLE)


def engine_plan(folder: Path, *, packed: bool) -> EnginePlan:
    source = Source(origin=Origin.LOCAL, name="nothing")
    return EnginePlan(
        objective="fake",
        model=source,
        data=DataPlan(source=source),
        report_points=POINTS,
        sweep_dir=str(folder),
        metric=METRIC.name,
        engine=EngineName.PACKED if packed else EngineName.SOLO,
    )


def start_sweep(ledger: Ledger, plan: EnginePlan) -> SweepRecord:
    sweep = open_sweep(ledger, "many", {}, "name: many\n")
    facts: FactChanges = {"metric": METRIC, "rows": {"train": POINTS[-1]}, "engine_plan": plan}
    return ledger.sweeps.update(sweep.id, status=SweepStatus.RUNNING, facts=facts)


def tracked(ledger: Ledger, sweep: SweepRecord, location: Location) -> Synchroniser:
    data = [DataInput(name=n, context=n, source="rows.csv", digest="0" * 16, rows=6000) for n in ("train", "test")]
    description = SweepDescription(metric=METRIC, fixed={"alpha": 32.0}, data=tuple(data))
    return Synchroniser(ledger, sweep.id, description, location)


def spend(trials: int, files: Path, location: Location, *, ray: bool, profile: Path | None) -> dict[str, float]:
    """Run one sweep with the folder ``files`` to its last write; return its cost."""
    ledger, plan = Ledger.open(), engine_plan(files, packed=ray)
    sweep = start_sweep(ledger, plan)
    assert sweep_dir(sweep) == files
    clocked = Clocked(tracked(ledger, sweep, location), profile and profile / f"tracker-{trials}.prof")
    reconciler = Reconciler(clocked, print)
    lines = Lines(progress_of(trials), lambda _: None)
    driver = None if profile is None else cProfile.Profile(time.thread_time)
    began, cpu = time.perf_counter(), time.thread_time()
    with ledger.drivers.hold(sweep.id) as hold:
        hold.busy = True
        reconciler.start()
        with profiled(driver, profile and profile / f"driver-{trials}.prof"):
            observers = (lines, reconciler, Retention(files, METRIC, KEEP))
            coordinator = Coordinator(ledger, sweep, search_plan(trials), observers=observers)
            executor = TuneExecutor(FakeEngineFactory()) if ray else InlineExecutor(FakeEngineFactory())
            with executor.run(coordinator, plan, Resources(parallel_trials=8 if ray else 1), threading.Event()):
                pass
        searched, driver_cpu_s = time.perf_counter(), time.thread_time() - cpu
        ledger.sweeps.update(sweep.id, status=SweepStatus.FINISHED, facts={"end_reason": "all were handed out"})
        assert reconciler.flush(3600.0)
        written = time.perf_counter()
        reconciler.close(1.0)
    return {
        "wall_s": written - began,
        "behind_s": written - searched,
        "driver_cpu_s": driver_cpu_s,
        "tracker_cpu_s": clocked.cpu_s,
    }


def measure(trials: int, folder: Path, *, ray: bool, profile: Path | None) -> Cost:
    """Run one sweep in this process and time actions on it; the environment names ``folder`` as the home."""
    location, files = locate(), folder / "home" / "sweeps" / "many-1"
    connect(location).search_experiments()  # creates the store's tables, which takes seconds
    files.mkdir(parents=True)
    spent = spend(trials, files, location, ray=ray, profile=profile)
    ledger = Ledger.open()
    sweep = ledger.sweeps.find("many")
    records = ledger.trials.all(sweep.id)
    assert len(records) == trials
    assert all(record.ended for record in records)
    progress = progress_of(trials)
    progress.update(*records)
    view, terminal = LiveView(progress, Console()), Console(file=io.StringIO(), width=120, height=40)
    decided = [(r.number, dict(r.params), r.seed, r.state, r.reason, sorted(r.decisions.items())) for r in records]
    reopen_s, ask_s = proposals(ledger, sweep, trials)
    return Cost(
        trials=trials,
        reports=sum(len(record.reports) for record in records),
        **spent,
        reopen_s=reopen_s,
        ask_s=ask_s,
        status_s=timed(lambda: command("status", "many")),
        report_s=timed(lambda: command("report", "many")),
        runs_s=timed(lambda: best_runs(location)),
        frame_s=timed(lambda: terminal.print(view)),
        essence=hashlib.sha256(repr(decided).encode()).hexdigest()[:12],
    )


def proposals(ledger: Ledger, sweep: SweepRecord, trials: int) -> tuple[float, float]:
    """Return the seconds to resume the sweep, and then to propose another trial (median of five)."""
    began = time.perf_counter()
    coordinator = Coordinator(ledger, sweep, search_plan(trials + 6))
    reopen_s = time.perf_counter() - began
    coordinator.next_task()
    return reopen_s, statistics.median(timed(coordinator.next_task) for _ in range(5))


def command(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "orchestrator", *words], check=True, capture_output=True)


def best_runs(location: Location) -> None:
    """Query the runs shown first on MLflow's page of the experiment."""
    client = connect(location)
    experiment = client.get_experiment_by_name("many")
    assert experiment is not None
    order = ["metrics.`best_val_accuracy` DESC"]
    found = client.search_runs([experiment.experiment_id], order_by=order, max_results=100)
    assert found


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def in_own_process(trials: int, *, ray: bool, profile: Path | None) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LORATORY_HOME"], os.environ["LORATORY_MLFLOW_DIR"] = f"{folder}/home", f"{folder}/mlflow"
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(measure, trials, Path(folder), ray=ray, profile=profile).result()


def main(
    trials: int = 2000,
    halvings: int = 4,
    rounds: int = 1,
    ray: bool = False,
    profile: Annotated[Path | None, typer.Option(help="Folder for a profile of either thread; slows both.")] = None,
) -> None:
    """Measure and print."""
    set_environment_defaults()
    if profile is not None:
        profile.mkdir(parents=True, exist_ok=True)
    names = [name for name in Cost.__slots__ if name != "trials"]
    for _ in range(rounds):
        print(f"{'trials':>7} {'ms each':>9} " + " ".join(f"{name.removesuffix('_s'):>11}" for name in names))
        walls: dict[int, float] = {}
        for size in [trials >> halving for halving in range(halvings, -1, -1)]:
            cost = in_own_process(size, ray=ray, profile=profile)
            walls[size] = cost.wall_s
            values = [getattr(cost, name) for name in names]
            shown = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in values]
            print(
                f"{size:7d} {1000 * cost.wall_s / size:9.1f} " + " ".join(f"{text:>11}" for text in shown), flush=True
            )
            for file in sorted(profile.glob(f"*-{size}.prof")) if profile is not None else ():
                print(f"{file.stem}: {pstats.Stats(str(file)).total_calls / size:,.0f} calls a trial")  # type: ignore[attr-defined]
        for size in [size for size in walls if size // 4 in walls]:
            print(f"time({size}) / time({size // 4}) = {walls[size] / walls[size // 4]:.2f}")


if __name__ == "__main__":
    typer.run(main)
