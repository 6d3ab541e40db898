"""An engine without a model: a formula gives the learning curves, and the files have the form of a real engine's.

``Behaviour`` makes it slow, raise, kill its process, diverge, or fail at its construction. The trial's folder stores
its number of crashes for later processes.
"""

import json
import math
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.core.errors import AssetError, DivergedError
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.training.engine import Capacity, TrialRun

BATCHES = 3
"""Batches of the packing engine between two report points."""


def curve(task: TrialTask, samples: int) -> dict[str, float]:
    """Return a trial's metrics after some samples: best near a learning rate of 1e-3, with seeded noise."""
    miss = abs(math.log10(task.settings.learning_rate) + 3.0)
    noise = (task.seed % 1000) / 1e5
    loss = 0.3 + 0.2 * miss + noise + 0.5 * math.exp(-samples / 1500)
    accuracy = 1.0 / (1.0 + loss)
    return {
        "val/loss": loss,
        "val/accuracy": accuracy,
        "train/loss": loss - 0.05,
        "train/accuracy": min(1.0, accuracy + 0.02),
        "gap/loss": 0.05,
        "progress/samples": float(samples),
        "progress/tokens": 20.0 * samples,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class FakeEngineFactory:
    """Builds fake engines; picklable for other processes.

    Attributes:
        step_s: duration of one report, or of one step of the packing engine, in seconds.
        raises: number of exceptions at the second report, by trial number.
        kills: number of killed processes at the second report, by trial number.
        diverges: numbers of the trials diverging at their second report.
        gather: the packing engine trains once this number of trials is present.
        capacity: number of trials reported as the packing engine's capacity.
        unfit: the reason for a base model unfit for packing; None: it is fit.
        memory: maximum number of rows of a batch; larger trials raise ``MemoryError``. None: no maximum.
        broken: whether the construction of the engine fails.
    """

    step_s: float = 0.0
    raises: Mapping[int, int] = field(default_factory=dict)
    kills: Mapping[int, int] = field(default_factory=dict)
    diverges: frozenset[int] = frozenset()
    gather: int = 1
    capacity: int = 1
    unfit: str | None = None
    memory: int | None = None
    broken: bool = False

    def __call__(self, plan: EnginePlan) -> "FakeEngine":
        if self.broken:
            raise AssetError("the base model is missing")
        return FakePackingEngine(plan, self) if plan.engine is EngineName.PACKED else FakeEngine(plan, self)


class FakeEngine:
    """See ``orchestrator.training.engine.Engine``."""

    slots = 1

    def __init__(self, plan: EnginePlan, behaviour: FakeEngineFactory) -> None:
        self.plan = plan
        self.behaviour = behaviour
        self.open = 0

    def start(self, task: TrialTask) -> "FakeRun":
        assert self.open < self.slots, "too many trials are open"
        self.open += 1
        return FakeRun(self, task)

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        values: dict[str, float] = json.loads((checkpoint / "report.json").read_text())["metrics"]
        metrics = {"loss": values["val/loss"], "accuracy": values["val/accuracy"]}
        return Measurement(metrics=metrics, rows=RowMeasures(losses=(), units=()))

    def close(self) -> None:
        assert self.open == 0, "a trial was left open"


class FakePackingEngine(FakeEngine):
    """See ``orchestrator.training.engine.PackingEngine``. Each batch is recorded with its process and trials."""

    slots = 8
    gathered = False

    def capacity(self, most: int, *, measure: bool) -> Capacity:
        if self.behaviour.unfit:
            return Capacity(slots=1, why=self.behaviour.unfit, packs=False)
        if not measure:
            return Capacity(slots=most, why="")
        return Capacity(slots=min(most, self.behaviour.capacity), why="the test says so")

    def step(self, wanted: Mapping[TrialRun, int]) -> dict[TrialRun, Report | DivergedError]:
        runs = {run: point for run, point in wanted.items() if isinstance(run, FakeRun)}
        assert len(runs) == len(wanted)
        assert runs, "nothing to train"
        self.gathered = self.gathered or len(runs) >= self.behaviour.gather
        if not self.gathered:
            time.sleep(0.01)
            return {}
        with (Path(self.plan.sweep_dir) / "batches.txt").open("a") as stream:
            stream.write(f"{os.getpid()} {' '.join(str(run.number) for run in runs)}\n")
        found: dict[TrialRun, Report | DivergedError] = {}
        for run, point in runs.items():
            try:
                report = run.batch(point)
            except DivergedError as error:
                run.close()
                found[run] = error
            else:
                if report is not None:
                    found[run] = report
        time.sleep(self.behaviour.step_s)
        return found


class FakeRun:
    """See ``orchestrator.training.engine.TrialRun``."""

    def __init__(self, engine: FakeEngine, task: TrialTask) -> None:
        self._engine: FakeEngine | None = engine
        self._task = task
        self.number = task.number
        self._points = engine.plan.timetable.of(task.settings)
        self._root = Path(engine.plan.sweep_dir)
        self._folder = self._root / "trials" / f"{task.number:04d}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._behaviour = engine.behaviour
        self._batches = 0
        self._began_at = 0.0

    def advance(self, nominal_samples: int) -> Report:
        stored = self._begin(nominal_samples)
        if stored is not None:
            return stored
        time.sleep(self._behaviour.step_s)
        return self._end(nominal_samples)

    def batch(self, nominal_samples: int) -> Report | None:
        """Train one batch; return the report if the batch reaches the report point."""
        if self._batches == 0:
            stored = self._begin(nominal_samples)
            if stored is not None:
                return stored
        self._batches = (self._batches + 1) % BATCHES
        return None if self._batches else self._end(nominal_samples)

    def _begin(self, nominal_samples: int) -> Report | None:
        assert self._engine is not None, "the run is closed"
        assert nominal_samples in self._points
        checkpoint = self._folder / f"checkpoint-{nominal_samples}"
        if (checkpoint / "report.json").exists():
            stored = json.loads((checkpoint / "report.json").read_text())
            return Report(**stored)
        earlier = self._points[: self._points.index(nominal_samples)]
        assert all((self._folder / f"checkpoint-{point}").exists() for point in earlier), "a report point was left out"
        memory, rows = self._behaviour.memory, self._task.settings.batch_size
        if memory is not None and rows > memory:
            raise MemoryError(f"no memory for {rows} rows")
        self._began_at = time.time()
        self._log(f"train {nominal_samples}")
        return None

    def _end(self, nominal_samples: int) -> Report:
        if nominal_samples == self._points[1]:
            self._misbehave()
        checkpoint = self._folder / f"checkpoint-{nominal_samples}"
        report = Report(
            trial=self._task.number,
            nominal_samples=nominal_samples,
            metrics=curve(self._task, nominal_samples),
            checkpoint=str(checkpoint.relative_to(self._root)),
            started_at=self._began_at,
            ended_at=time.time(),
        )
        partial = checkpoint.with_suffix(f".partial-{os.getpid()}")
        (partial / "adapter").mkdir(parents=True)
        (partial / "adapter" / "adapter_config.json").write_text("{}")
        (partial / "report.json").write_text(json.dumps(asdict(report)))
        partial.rename(checkpoint)
        return report

    def finish(self, best_samples: int) -> Mapping[str, float]:
        assert self._engine is not None, "the run is closed"
        adapter = self._folder / f"checkpoint-{best_samples}" / "adapter"
        assert adapter.is_dir(), "the best checkpoint is gone"
        self._log(f"finish {best_samples}")
        time.sleep(self._behaviour.step_s)
        return {"shift/product/accuracy": 0.9 * curve(self._task, best_samples)["val/accuracy"]}

    def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.open -= 1

    def _misbehave(self) -> None:
        number = self._task.number
        if number in self._behaviour.diverges:
            raise DivergedError("the loss is nan")
        if self._again(self._behaviour.raises.get(number, 0)):
            raise RuntimeError("out of memory on purpose")
        if self._again(self._behaviour.kills.get(number, 0)):
            os.kill(os.getpid(), signal.SIGKILL)

    def _again(self, times: int) -> bool:
        """Return whether to crash again, and record it."""
        done = len(list(self._folder.glob("crash-*")))
        if done < times:
            (self._folder / f"crash-{done}").touch()
        return done < times

    def _log(self, event: str) -> None:
        with (self._folder / "events.txt").open("a") as stream:
            stream.write(f"{os.getpid()} {event}\n")


def events(sweep_dir: Path, number: int) -> list[str]:
    """Return the events of a trial, in order, without process ids."""
    path = sweep_dir / "trials" / f"{number:04d}" / "events.txt"
    return [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []


def processes(sweep_dir: Path) -> set[int]:
    """Return the ids of all processes with training."""
    return {
        int(line.split()[0]) for path in sweep_dir.glob("trials/*/events.txt") for line in path.read_text().splitlines()
    }


def batches(sweep_dir: Path) -> list[frozenset[int]]:
    """Return the trials of each batch of the packing engine, in order."""
    path = sweep_dir / "batches.txt"
    return [frozenset(map(int, line.split()[1:])) for line in path.read_text().splitlines()] if path.exists() else []
