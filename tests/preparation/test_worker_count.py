"""Another number of workers is refused before rows and models are read, if checkpoints need the old one."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.errors import SweepChangedError
from orchestrator.core.methods.deepspeed import NAMED
from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.preparation.engine_plan import plan_engine
from orchestrator.preparation.prepared import prepare
from orchestrator.preparation.request import request_of
from orchestrator.preparation.worker_count import require_workers
from orchestrator.search.sweeps import open_sweep
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.stores import read_spec
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from tests.fakes.tiny_sweep import tiny_sweep
from tests.report.examples import make_records


def with_workers(spec: SweepSpec, workers: int) -> SweepSpec:
    return replace(spec, resources=replace(spec.resources, workers_per_trial=workers))


def test_deepspeed_resume_needs_the_same_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "home"))
    spec = with_workers(replace(read_spec(tiny_sweep(tmp_path)), deepspeed=NAMED["zero2"]), 2)
    ledger = Ledger.open()
    plan = plan_engine(replace(spec, data=replace(spec.data, classes=("negative", "positive"))), 64, 32)
    sweep = ledger.sweeps.update(open_sweep(ledger, spec.name, {}, spec.text).id, facts={"engine_plan": plan})
    folder = tmp_path / "home" / "sweeps" / "tiny-1"
    ended, suspended = make_records()[:2]
    for number, trial in enumerate((ended, replace(suspended, state=TrialState.RUNNING))):
        ledger.trials.add(sweep.id, replace(trial, reports=(), decisions={}), study_number=number)
    TrialFolder(folder, ended.number).checkpoint(32).mkdir(parents=True)
    require_workers(with_workers(spec, 4), ledger)  # the suspended trial starts from its beginning

    TrialFolder(folder, suspended.number).checkpoint(32).mkdir(parents=True)
    (tmp_path / "rows.csv").unlink()
    message = (
        rf"workers_per_trial: the suspended trials {suspended.number} of tiny#1 have checkpoints of DeepSpeed with 2 "
        "workers, .* got 4. Set resources.workers_per_trial: 2 until these trials have ended"
    )
    with pytest.raises(SweepChangedError, match=message):
        prepare(request_of(with_workers(spec, 4)), ledger)
    require_workers(spec, ledger)
    require_workers(with_workers(replace(spec, deepspeed=None), 4), ledger)
