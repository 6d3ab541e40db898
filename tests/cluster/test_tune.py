"""The Tune executor fulfils the executor contract, with one process per running trial."""

import threading
import time
from pathlib import Path

import pytest

from orchestrator.cluster.executor import Executor
from orchestrator.cluster.host import EngineFactory
from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.policy import StoppingName
from orchestrator.core.trials.trial import TrialState
from tests.cluster.fake_sweep import Diary, FakeSweep, decisions
from tests.cluster.test_dispatcher import Drive
from tests.contracts.executor_contract import ExecutorContract, check_ended
from tests.fakes.fake_engine import FakeEngineFactory, processes

pytestmark = pytest.mark.usefixtures("shared_ray")


class TestTuneExecutor(ExecutorContract):
    parallel = 2
    processes = 2

    def executor(self, build: EngineFactory) -> Executor:
        return TuneExecutor(build)

    def test_killed_process_is_retried_once(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=self.engine, trials=4, rule=StoppingName.NONE)
        records = sweep.run(self.executor(FakeEngineFactory(kills={0: 1, 2: 2})), parallel=self.parallel)
        check_ended(sweep, records)
        assert [record.number for record in records if record.state is TrialState.FAIL] == [2]
        assert "died; too little memory is the usual cause" in (records[2].reason or "")

    def test_processes_are_reused(self, tmp_path: Path) -> None:
        sweep = FakeSweep(folder=tmp_path, engine=self.engine, trials=12)
        check_ended(sweep, sweep.run(self.executor(FakeEngineFactory(step_s=0.01)), parallel=self.parallel))
        # On a busy machine the first process may run all trials before the second one starts.
        assert 1 <= len(processes(tmp_path)) <= self.processes

    def test_stop_waits_for_no_report(self, tmp_path: Path) -> None:
        sweep, stop, slow = (
            FakeSweep(folder=tmp_path, engine=self.engine, trials=3),
            threading.Event(),
            FakeEngineFactory(step_s=120),
        )

        def stop_when_training() -> None:
            while not processes(tmp_path):
                time.sleep(0.1)
            stop.set()

        threading.Thread(target=stop_when_training, daemon=True).start()
        records = sweep.run(self.executor(slow), parallel=self.parallel, stop=stop)
        assert {record.state for record in records} == {TrialState.RUNNING}
        assert not any(record.reports for record in records)


def test_tune_ends_at_once_without_trials(tmp_path: Path) -> None:
    from orchestrator.cluster.tune_bridge import Bridge, DispatchSearcher, HaltStopper

    drive = Drive(tmp_path)
    drive.stop.set()
    bridge = Bridge(drive.dispatcher)
    assert str(DispatchSearcher(bridge).suggest("any")) == "FINISHED"
    assert HaltStopper(bridge).stop_all()


def test_missing_resources_are_refused(tmp_path: Path) -> None:
    sweep = FakeSweep(folder=tmp_path, trials=2, gpus=64)
    with pytest.raises(UserError, match=r"resources\.gpus_per_trial: at most"):
        sweep.run(TuneExecutor(FakeEngineFactory()))


def test_tune_refuses_a_trial_without_resources() -> None:
    from ray import tune

    with pytest.raises(ValueError, match="empty head and zero worker bundles"):
        tune.with_resources(lambda _: None, {"cpu": 0})


def test_tune_and_inline_decide_equally(tmp_path: Path) -> None:
    inline, tune = (FakeSweep(folder=tmp_path / name, trials=12) for name in ("inline", "tune"))
    diary = Diary()
    expected = inline.run(InlineExecutor(FakeEngineFactory()))
    found = tune.run(TuneExecutor(FakeEngineFactory()), observers=[diary])
    assert [record.settings for record in found] == [record.settings for record in expected]
    assert decisions(found) == decisions(expected)
    assert any(record.state is TrialState.PRUNED for record in found)
