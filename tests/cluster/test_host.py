"""The slot host alone: orders in, outcomes out, over the fake engines."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.cluster.host import SlotHost
from orchestrator.cluster.orders import Advance, Assignment, Diverged, Finish, Finished, Reported, StepOutcome, Unusable
from orchestrator.core.errors import AssetError, LoratoryError, SuspendedError
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import TrialTask
from orchestrator.training.checkpoints import trial_folder
from orchestrator.training.engine import Engine
from tests.cluster.fake_sweep import POINTS, FakeSweep
from tests.fakes.fake_engine import BATCHES, FakeEngine, FakeEngineFactory, FakeRun, batches, events


class Bench:
    """A host in a folder, and the engine it built."""

    def __init__(
        self,
        folder: Path,
        slots: int = 3,
        engine: EngineName = EngineName.PACKED,
        build: FakeEngineFactory | None = None,
    ) -> None:
        self.engine: FakeEngine | None = None
        self._build = build or FakeEngineFactory()
        self.host = SlotHost(FakeSweep(folder=folder, engine=engine).engine_plan, self.built, slots)

    def built(self, plan: EnginePlan) -> Engine:
        assert self.engine is None, "built twice"
        self.engine = self._build(plan)
        return self.engine

    def train(self, *numbers: int, to: int = POINTS[0]) -> None:
        for number in numbers:
            self.host.take(assignment(number, to))

    def until_idle(self) -> dict[int, StepOutcome]:
        found: dict[int, StepOutcome] = {}
        while self.host.busy:
            found |= self.host.step()
        return found

    @property
    def open(self) -> int:
        assert self.engine is not None
        return self.engine.open


def assignment(number: int, to: int) -> Assignment:
    task = TrialTask(number=number, settings=TrialSettings(), seed=number)
    return Assignment(task=task, order=Advance(nominal_samples=to))


def finish(number: int, best: int | None) -> Assignment:
    return Assignment(task=assignment(number, POINTS[0]).task, order=Finish(best_samples=best))


def samples(outcomes: Mapping[int, StepOutcome]) -> dict[int, int]:
    return {n: found.report.nominal_samples for n, found in outcomes.items() if isinstance(found, Reported)}


def test_checkpoint_warnings_reach_a_report(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.train(0)
    bench.host.step()
    trial_folder.logger.warning("%s is damaged", "it")
    reported = bench.until_idle()[0]
    assert isinstance(reported, Reported)
    assert reported.notes == ("it is damaged",)
    bench.host.close()
    trial_folder.logger.warning("nobody hears this")


def test_full_disk_is_no_crash_of_the_trials(tmp_path: Path) -> None:
    def build(plan: EnginePlan) -> Engine:
        return FullDisk(plan, FakeEngineFactory())

    host = SlotHost(FakeSweep(folder=tmp_path).engine_plan, build)
    host.take(assignment(0, POINTS[0]))
    outcome = host.step()[0]
    assert isinstance(outcome, Unusable)
    assert isinstance(outcome.error, SuspendedError)
    assert str(outcome.error).startswith(f"{tmp_path} cannot be written: No space left on device")


class FullDisk(FakeEngine):
    """An engine on a full disk."""

    def start(self, task: TrialTask) -> FakeRun:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_trials_share_batches_between_reports(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.train(0, 1, 2)
    assert [bench.host.step() for _ in range(BATCHES - 1)] == [{}, {}]
    assert samples(bench.host.step()) == dict.fromkeys(range(3), POINTS[0])
    assert not bench.host.busy
    assert batches(tmp_path) == [{0, 1, 2}] * BATCHES


def test_joining_and_leaving_restarts_no_trial(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.train(0, 1)
    bench.host.step()
    bench.train(2)
    bench.host.step()
    bench.host.release(1)
    assert samples(bench.until_idle()) == {0: POINTS[0], 2: POINTS[0]}
    assert batches(tmp_path) == [{0, 1}, {0, 1, 2}, {0, 2}, {2}]
    assert [events(tmp_path, number) for number in range(3)] == [["train 1000"]] * 3
    assert bench.open == 2


def test_diverged_trial_leaves_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, build=FakeEngineFactory(diverges=frozenset({1})))
    for point in POINTS[:2]:
        bench.train(0, 1, to=point)
        outcomes = bench.until_idle()
    assert outcomes[1] == Diverged(number=1, reason="the loss is nan")
    assert samples(outcomes) == {0: POINTS[1]}
    assert bench.open == 1


def test_final_measurement_comes_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.train(0, 1)
    bench.until_idle()
    bench.train(0, to=POINTS[1])
    bench.host.take(finish(1, POINTS[0]))
    [outcome] = bench.host.step().values()
    assert isinstance(outcome, Finished)
    assert outcome.number == 1
    assert outcome.metrics
    assert bench.open == 1
    assert samples(bench.until_idle()) == {0: POINTS[1]}


def test_trial_without_best_is_not_opened(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.host.take(finish(0, None))
    assert bench.host.step() == {0: Finished(number=0, metrics={})}
    assert bench.open == 0


@pytest.mark.parametrize("engine", EngineName)
def test_idle_trial_keeps_an_unneeded_slot(tmp_path: Path, engine: EngineName) -> None:
    bench = Bench(tmp_path, slots=1, engine=engine)
    bench.train(0)
    bench.until_idle()
    assert bench.open == 1
    bench.train(1)
    bench.until_idle()
    assert bench.open == 1
    bench.train(0, to=POINTS[1])
    assert samples(bench.until_idle()) == {0: POINTS[1]}
    assert events(tmp_path, 0) == ["train 1000", "train 2000"]


def test_engine_error_passes_and_host_closes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, build=FakeEngineFactory(raises={1: 1}))
    bench.train(0, 1)
    bench.until_idle()
    bench.train(0, 1, to=POINTS[1])
    with pytest.raises(RuntimeError, match="out of memory on purpose"):
        bench.until_idle()
    bench.host.close()
    assert bench.open == 0
    assert not bench.host.busy


def test_unbuildable_engine_is_every_trials_outcome(tmp_path: Path) -> None:
    bench = Bench(tmp_path, build=FakeEngineFactory(broken=True))
    bench.train(0, 1)
    found = bench.until_idle()
    assert found.keys() == {0, 1}
    assert all(isinstance(one, Unusable) and isinstance(one.error, AssetError) for one in found.values())


def test_error_in_engine_building_names_its_type(tmp_path: Path) -> None:
    def build(plan: EnginePlan) -> Engine:
        raise KeyError("layers")

    host = SlotHost(FakeSweep(folder=tmp_path).engine_plan, build)
    host.take(assignment(0, POINTS[0]))
    [outcome] = host.step().values()
    assert isinstance(outcome, Unusable)
    assert type(outcome.error) is LoratoryError
    assert str(outcome.error) == "the engine cannot be built: KeyError: 'layers'"


def test_assignment_is_followed_by_next_report_point() -> None:
    timetable = Timetable(points=POINTS)
    following = assignment(0, POINTS[0]).following(timetable)
    assert following == assignment(0, POINTS[1])
    assert assignment(0, POINTS[-1]).following(timetable) is None
    assert finish(0, POINTS[0]).following(timetable) is None
