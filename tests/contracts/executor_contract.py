"""The contract of executors. A test class inherits ``ExecutorContract`` and creates its executor."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.cluster.executor import Executor
from orchestrator.cluster.host import EngineFactory
from orchestrator.core.errors import AssetError
from orchestrator.core.sweeps.control import ControlKind
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.sweeps.policy import StoppingName
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState, TrialTask
from tests.cluster.fake_sweep import METRIC, POINTS, Diary, FakeSweep
from tests.fakes.fake_engine import FakeEngineFactory, batches, events


def check_ended(sweep: FakeSweep, records: Sequence[TrialRecord]) -> None:
    """Check the end of every trial: all reports are present, and its best checkpoint was measured unless it failed."""
    assert [record.number for record in records] == list(range(sweep.trials))
    for record in records:
        assert record.ended
        reported = [report.nominal_samples for report in record.reports]
        assert tuple(reported) == POINTS[: len(reported)]
        if record.state is TrialState.FAIL:
            assert not record.final
            continue
        best = record.best(METRIC)
        assert best is not None
        assert record.final["shift/product/accuracy"] == pytest.approx(0.9 * best.metrics[METRIC.name])
        assert events(sweep.folder, record.number)[-1] == f"finish {best.nominal_samples}"


class ExecutorContract(ABC):
    """The suite."""

    parallel = 1
    engine = EngineName.SOLO

    @abstractmethod
    def executor(self, build: EngineFactory) -> Executor:
        """Return a new executor with engines from ``build``."""

    def test_every_trial_ends_once_and_asha_prunes(self, tmp_path: Path) -> None:
        sweep, diary = FakeSweep(folder=tmp_path, engine=self.engine, trials=9), Diary()
        records = sweep.run(self.executor(FakeEngineFactory()), parallel=self.parallel, observers=[diary])
        check_ended(sweep, records)
        states = [record.state for record in records]
        assert TrialState.PRUNED in states
        assert TrialState.COMPLETE in states
        assert set(diary.ended.values()) == set(diary.reports.values()) == set(diary.decisions.values()) == {1}
        assert len(diary.ended) == sweep.trials
        for record in records:
            trained = [event for event in events(tmp_path, record.number) if event.startswith("train")]
            assert trained == [f"train {report.nominal_samples}" for report in record.reports]

    def test_unstopped_trials_reach_their_budgets(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=self.engine, trials=6, rule=StoppingName.NONE, epochs=(1.0, 0.5, 0.6))
        records = sweep.run(self.executor(FakeEngineFactory()), parallel=self.parallel)
        ends = {1.0: POINTS, 0.5: (1000, 2000), 0.6: (1000, 2000, 2400)}
        assert {record.settings.epochs for record in records} == set(ends)
        for record in records:
            assert record.state is TrialState.COMPLETE
            assert tuple(report.nominal_samples for report in record.reports) == ends[record.settings.epochs]

    def test_raising_trial_is_retried_once(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=self.engine, trials=5, rule=StoppingName.NONE)
        build = FakeEngineFactory(raises={1: 1, 3: 2})
        records = sweep.run(self.executor(build), parallel=self.parallel)
        check_ended(sweep, records)
        assert [r.number for r in records if r.state is TrialState.FAIL] == [3]
        assert records[3].reason == "crashed 2 times: RuntimeError: out of memory on purpose"
        assert events(tmp_path, 1)[:3] == ["train 1000", "train 2000", "train 2000"]

    def test_no_trial_larger_than_a_failed_one_starts(self, tmp_path: Path) -> None:
        """The space is infinite, so the search always finds a smaller one."""
        sweep = FakeSweep(
            folder=tmp_path, engine=self.engine, trials=8, rule=StoppingName.NONE, batch_sizes=(8, 16, 64)
        )
        records = sweep.run(self.executor(FakeEngineFactory(memory=32)), parallel=self.parallel)
        check_ended(sweep, records)
        failed = sorted((r for r in records if r.ran_out_of_memory), key=lambda record: record.ended_at or 0.0)
        assert failed
        assert failed[0].reason == "out of memory: crashed 2 times: MemoryError: no memory for 64 rows"
        assert all(record.started_at <= (failed[0].ended_at or 0.0) for record in failed)
        assert all((record.settings.batch_size == 64) == record.ran_out_of_memory for record in records)

    def test_diverging_trial_fails_alone(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=self.engine, trials=4, rule=StoppingName.NONE)
        records = sweep.run(self.executor(FakeEngineFactory(diverges=frozenset({2}))), parallel=self.parallel)
        check_ended(sweep, records)
        assert [r.number for r in records if r.state is TrialState.FAIL] == [2]
        assert "nan" in (records[2].reason or "")
        assert events(tmp_path, 2) == ["train 1000", "train 2000"]

    def test_stopped_sweep_resumes(self, tmp_path: Path) -> None:
        sweep, build = FakeSweep(folder=tmp_path, engine=self.engine, trials=7), FakeEngineFactory(step_s=0.02)
        first = Diary(stop_after=5)
        records = sweep.run(self.executor(build), parallel=self.parallel, observers=[first], stop=first.stop)
        assert not all(record.ended for record in records) or len(records) < sweep.trials
        second = Diary()
        records = sweep.run(self.executor(build), parallel=self.parallel, observers=[second])
        check_ended(sweep, records)
        assert set((first.reports + second.reports).values()) == {1}
        assert set((first.decisions + second.decisions).values()) == {1}
        assert set((first.ended + second.ended).values()) == {1}

    def test_paused_sweep_rests_after_reports(self, tmp_path: Path) -> None:
        """Trials reach their next report, and nothing is trained twice; a stop while paused takes effect afterwards."""

        class Pausing(Diary):
            def reported(self, trial: TrialRecord, report: Report) -> None:
                super().reported(trial, report)
                if self.reports.total() == 1:
                    sweep.send(ControlKind.PAUSE)

        sweep = FakeSweep(folder=tmp_path, engine=self.engine, trials=4, rule=StoppingName.NONE)
        build = FakeEngineFactory(step_s=0.02)
        records = sweep.run(self.executor(build), parallel=self.parallel, observers=[Pausing()])
        resting = sorted((r for r in records if not r.ended), key=lambda r: r.samples)
        assert resting
        sweep.send(ControlKind.STOP, resting[0].number)
        assert sweep.run(self.executor(build), parallel=self.parallel) == records
        sweep.send(ControlKind.RESUME)
        records = sweep.run(self.executor(build), parallel=self.parallel)
        check_ended(sweep, records)
        assert [r.number for r in records if r.reason == "stopped by anna@lab"] == [resting[0].number]
        for record in records:
            trained = [event for event in events(tmp_path, record.number) if event.startswith("train")]
            assert trained == [f"train {report.nominal_samples}" for report in record.reports]

    def test_finished_sweep_stays_unchanged(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=self.engine, trials=2)
        records = sweep.run(self.executor(FakeEngineFactory()), parallel=self.parallel)
        assert sweep.run(self.executor(FakeEngineFactory(broken=True)), parallel=self.parallel) == records

    def test_larger_budget_resumes_suspended_trials(self, tmp_path: Path) -> None:
        # Three trials of four reports are 240,000 tokens.
        small = FakeSweep(folder=tmp_path, engine=self.engine, trials=3, rule=StoppingName.NONE, tokens=100_000)
        records = small.run(self.executor(FakeEngineFactory()), parallel=self.parallel)
        spent = sum(record.reports[-1].metrics["progress/tokens"] for record in records if record.reports)
        assert 100_000 <= spent < 100_000 + 40_000 * self.parallel
        assert not all(record.ended for record in records) or len(records) < 3
        large = FakeSweep(folder=tmp_path, engine=self.engine, trials=3, rule=StoppingName.NONE)
        check_ended(large, large.run(self.executor(FakeEngineFactory()), parallel=self.parallel))

    def test_unbuildable_engine_ends_the_sweep(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=self.engine, trials=3)
        with pytest.raises(AssetError, match="the base model is missing"):
            sweep.run(self.executor(FakeEngineFactory(broken=True)), parallel=self.parallel)
        check_ended(sweep, sweep.run(self.executor(FakeEngineFactory()), parallel=self.parallel))


class PackedContract(ABC):
    """The additional contract of executors with a packing engine."""

    @abstractmethod
    def executor(self, build: EngineFactory) -> Executor:
        """Return a new executor with engines from ``build``."""

    def test_trials_at_once_follow_the_capacity(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=EngineName.PACKED, trials=5, rule=StoppingName.NONE)
        said: list[str] = []
        build = FakeEngineFactory(step_s=0.02, capacity=2, gather=2)
        records = sweep.run(self.executor(build), parallel=4, measured=True, say=said.append)
        check_ended(sweep, records)
        assert said == ["trials at once: 2, because the test says so"]
        assert max(len(together) for together in batches(tmp_path)) == 2

    def test_unfit_base_model_trains_serially(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=EngineName.PACKED, trials=3, rule=StoppingName.NONE)
        said: list[str] = []
        build = FakeEngineFactory(unfit="its attention is of its own making")
        check_ended(sweep, sweep.run(self.executor(build), parallel=3, say=said.append))
        assert said == ["the solo engine trains one trial after another: its attention is of its own making"]
        assert max(len(together) for together in batches(tmp_path)) == 1

    def test_open_engine_measures_checkpoints(self, tmp_path: Path) -> None:
        sweep, ended = FakeSweep(folder=tmp_path, engine=EngineName.PACKED, trials=2), Diary()
        with sweep.running(self.executor(FakeEngineFactory()), parallel=2, observers=[ended]) as measure:
            assert set(ended.ended) == {0, 1}
            assert measure is not None
            [checkpoint] = tmp_path.glob("trials/0000/checkpoint-1000")
            measured = measure(checkpoint, TrialTask(number=0, settings=TrialSettings(), seed=0), "test")
        assert measured.metrics["loss"] == sweep.records()[0].reports[0].metrics["val/loss"]

    def test_stopped_sweep_measures_nothing(self, tmp_path: Path) -> None:
        sweep, diary = FakeSweep(folder=tmp_path, engine=EngineName.PACKED, trials=3), Diary(stop_after=2)
        executor = self.executor(FakeEngineFactory(step_s=0.02))
        with sweep.running(executor, parallel=2, observers=[diary], stop=diary.stop) as measure:
            assert measure is None

    def test_unbuildable_engine_ends_the_capacity_measurement(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=EngineName.PACKED, trials=3)
        with pytest.raises(AssetError, match="the base model is missing"):
            sweep.run(self.executor(FakeEngineFactory(broken=True)), parallel=2, measured=True)
