"""The function engine: exact after a resume, and every fault of a function has a message."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.core.data import DataPlan
from orchestrator.core.errors import CutShortError, DivergedError, LoratoryError, ObjectiveError, SuspendedError
from orchestrator.core.metric import Direction
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.tasks.function import FunctionPlan, file_digest
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from orchestrator.training.function.engine import FunctionEngine

FILE = Path(__file__).with_name("walks.py")
POINTS = (20, 40, 45, 90)
TASK = TrialTask(number=3, settings=TrialSettings(values={"rate": 0.5, "batch": 5}), seed=11)
Build = Callable[..., FunctionEngine]


def engine_of(
    folder: Path, name: str, sweep: str = "sweep", python: str | None = None, test: str = "test", file: Path = FILE
) -> FunctionEngine:
    function = FunctionPlan(
        path=str(file),
        name=name,
        samples=POINTS[-1],
        metrics={"loss": Direction.MINIMIZE},
        python=python,
        test=test,
        digest=file_digest(file),
    )
    plan = EnginePlan(
        objective=f"{FILE}:{name}",
        model=function.source,
        data=DataPlan(source=function.source),
        report_points=POINTS,
        sweep_dir=str(folder / sweep),
        metric="val/loss",
        engine=EngineName.FUNCTION,
        function=function,
    )
    return FunctionEngine(plan, grace_s=0.2)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return partial(engine_of, tmp_path)


def task(**values: Any) -> TrialTask:
    return TrialTask(number=3, settings=TrialSettings(values={**TASK.settings.values, **values}), seed=11)


def losses(engine: FunctionEngine, trial: TrialTask = TASK) -> list[float]:
    run = engine.start(trial)
    try:
        return [run.advance(point).metrics["val/loss"] for point in POINTS]
    finally:
        run.close()


def learned(report: Report) -> Mapping[str, float]:
    return {name: value for name, value in report.metrics.items() if not name.startswith(("time/", "memory/"))}


@pytest.mark.parametrize("stop", POINTS[:-1])
def test_closed_trial_resumes_exactly(build: Build, tmp_path: Path, stop: int) -> None:
    whole = losses(build("walk"))
    engine = build("walk", "resumed")
    run = engine.start(TASK)
    run.advance(stop)
    run.close()
    assert losses(engine) == whole
    log = (tmp_path / "resumed" / "trials" / "0003" / "function.log").read_text()
    assert f"starts at {stop}" in log


def test_trial_without_checkpoints_starts_again_with_same_reports(build: Build, tmp_path: Path) -> None:
    trial = task(save=False)
    whole = losses(build("walk"), trial)
    engine = build("walk", "resumed")
    run = engine.start(trial)
    first = [run.advance(point) for point in POINTS[:2]]
    run.close()
    assert losses(engine, trial) == whole
    assert [report.checkpoint for report in first] == [None, None]
    assert "starts at 0\nstarts at 0" in (tmp_path / "resumed" / "trials" / "0003" / "function.log").read_text()


def test_one_call_serves_all_points_that_it_passes(build: Build, tmp_path: Path) -> None:
    engine, trial = build("walk"), task(batch=45)
    run = engine.start(trial)
    reports = [run.advance(point) for point in POINTS[:3]]
    assert [report.nominal_samples for report in reports] == [20, 40, 45]
    assert all(learned(report) == learned(reports[0]) for report in reports)
    run.close()
    TrialFolder(tmp_path / "sweep", 3).remove(40)  # killed between two of these reports
    TrialFolder(tmp_path / "sweep", 3).remove(45)
    assert learned(engine.start(trial).advance(45)) == learned(reports[0])


def test_report_on_disk_starts_no_process(build: Build, tmp_path: Path) -> None:
    losses(build("walk"))
    log = tmp_path / "sweep" / "trials" / "0003" / "function.log"
    before = log.read_text()
    losses(build("walk"))
    assert log.read_text() == before


def test_damaged_checkpoint_is_not_used(build: Build, tmp_path: Path) -> None:
    whole = losses(build("walk"))
    folder = TrialFolder(tmp_path / "sweep", 3)
    (folder.checkpoint(90) / "adapter" / "place.json").write_text("0")
    assert folder.damage(90) is not None
    folder.discard(90)
    assert losses(build("walk")) == whole


def test_files_for_resume_are_not_kept(build: Build, tmp_path: Path) -> None:
    run = build("walk").start(TASK)
    run.advance(20)
    run.close()
    folder = TrialFolder(tmp_path / "sweep", 3)
    assert (folder.checkpoint(20) / "resume" / "generator.json").is_file()
    folder.prune({20: False})
    assert sorted(path.name for path in folder.checkpoint(20).rglob("*")) == ["adapter", "place.json", "report.json"]


def test_test_function_measures_rows(build: Build, tmp_path: Path) -> None:
    engine = build("walk")
    loss = losses(engine)[-1]
    measured = engine.measure(tmp_path / "sweep" / "trials" / "0003" / "checkpoint-90" / "adapter", TASK, "test")
    assert measured.metrics == {"loss": loss}
    assert measured.rows.losses == (loss, 0.0)
    assert measured.rows.references == (1, 1)


def test_result_of_a_test_needs_the_metrics(build: Build, tmp_path: Path) -> None:
    engine = build("walk", test="nothing")
    losses(engine)
    with pytest.raises(
        ObjectiveError, match=r"the result of nothing lacks loss, a metric of the sweep file; it has no"
    ):
        engine.measure(tmp_path / "sweep" / "trials" / "0003" / "checkpoint-90" / "adapter", TASK, "test")


def test_changed_file_is_not_mixed_with_earlier_trials(build: Build, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    shutil.copy(FILE, file)
    engine = build("walk", file=file)
    losses(engine)
    file.write_text(f"{FILE.read_text()}\n# another version\n")
    with pytest.raises(SuspendedError, match=r"mine\.py has changed since its sweep started: restore it"):
        engine.start(task(rate=1)).advance(20)
    with pytest.raises(SuspendedError, match="has changed"):
        engine.measure(tmp_path / "sweep" / "trials" / "0003" / "checkpoint-90" / "adapter", TASK, "test")
    file.unlink()
    with pytest.raises(SuspendedError, match=r"mine\.py is missing"):
        engine.start(task(rate=1)).advance(20)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("raises", ObjectiveError, r"walks\.py:\d+: RuntimeError: no such row; the whole output is in .*function\.log"),
        ("out_of_memory", MemoryError, "too large"),
        ("killed", LoratoryError, "ended with signal SIGKILL; the system may have been out of memory"),
        ("diverges", DivergedError, "val/loss is nan at 50 samples"),
        ("forgets", ObjectiveError, "lacks val/loss, a metric of the sweep file; it has val/accuracy"),
        ("silent", ObjectiveError, "returned without a report"),
        ("absent", ObjectiveError, "AttributeError"),
    ],
)
def test_fault_of_a_function_has_a_message(build: Build, name: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        build(name).start(TASK).advance(20)


def test_function_that_returns_early_keeps_its_reports(build: Build) -> None:
    run = build("early").start(TASK)
    assert run.advance(20).metrics["val/loss"] == 1.0
    with pytest.raises(CutShortError, match="after its report at 20 of 90 samples"):
        run.advance(40)


def test_unknown_point_and_closed_engine_are_refused(build: Build) -> None:
    engine = build("walk")
    with pytest.raises(ValueError, match="report points"):
        engine.start(TASK).advance(21)
    engine.close()
    with pytest.raises(LoratoryError, match="closed"):
        engine.start(TASK)


def test_closed_trial_ends_with_its_children(build: Build, tmp_path: Path) -> None:
    run = build("stubborn").start(TASK)
    run.advance(20)
    pids = [int(pid) for pid in (tmp_path / "sweep" / "trials" / "0003" / "pids").read_text().split()]
    run.close()
    _await_end(pids)


def test_function_ends_with_its_killed_engine(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.training.function.test_function_engine import TASK, engine_of\n"
        "engine_of(Path(sys.argv[1]), 'stubborn').start(TASK).advance(20)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=FILE.parents[3])
    pids = [int(pid) for pid in (tmp_path / "sweep" / "trials" / "0003" / "pids").read_text().split()]
    _await_end(pids)


def test_interpreter_of_its_own_needs_no_loratory(build: Build, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    report = build("returns", python=python).start(TASK).advance(90)
    assert report.metrics["val/interpreter"] == 0.0
    with pytest.raises(LoratoryError, match=r"function\.python: /nowhere/python cannot be started"):
        build("returns", "other", python="/nowhere/python").start(TASK).advance(90)


def _await_end(pids: list[int], count: int = 2) -> None:
    """Wait for processes that were killed, a function and its child: the system ends them a moment later."""
    assert len(pids) == count
    until = time.monotonic() + 30
    while any(map(_runs, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_death_of_a_function_is_seen_while_its_child_lives(build: Build, tmp_path: Path) -> None:
    run = build("leaves_child").start(TASK)
    with pytest.raises(LoratoryError, match="ended with signal SIGKILL"):
        run.advance(20)
    run.close()
    _await_end([int((tmp_path / "sweep" / "trials" / "0003" / "pids").read_text())], count=1)
