"""Estimated duration of a sweep from an earlier, similar one."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.assets.catalogue import CATALOGUE
from orchestrator.cli.plan_view import max_duration_s, plan_text
from orchestrator.core.methods.deepspeed import NAMED
from orchestrator.core.sweeps.policy import Budget
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.loading import objective_facts
from orchestrator.preparation.engine_plan import plan_engine
from orchestrator.report.pace import Pace, earlier_pace
from orchestrator.search.sweeps import open_sweep
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.load import load_spec
from orchestrator.spec.sweep_spec import SweepSpec
from tests.report.examples import report, sweep_plan, trial
from tests.report.test_views import shown

ROOT = Path(__file__).parents[2]
PLAN = sweep_plan(
    stopping="asha", report_points=(500, 1000), ends=(1000,), rungs=(500,), rows={"train": 1000}, engine="packed"
)


@pytest.fixture
def spec() -> SweepSpec:
    path = ROOT / "sweeps" / "sentiment-smoke.yaml"
    return load_spec(path, objective_facts=objective_facts, packaged=CATALOGUE)


def test_pace_comes_from_sweep_of_same_task(spec: SweepSpec, tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", heartbeat_s=0.01)
    sweep = open_sweep(ledger, spec.name, fingerprint(spec), "")
    ledger.sweeps.update(sweep.id, facts={"engine_plan": plan_engine(spec, 1000)})
    assert earlier_pace(ledger, spec) is None, "nothing was trained yet"
    for number, rows in enumerate((1000, 500)):
        ledger.trials.add(sweep.id, trial(number, {"rank": 4}, ()), number)
        ledger.trials.add_report(sweep.id, report(number, rows, 0.0))
    with ledger.drivers.hold(sweep.id) as hold:
        hold.busy = True
    elapsed_s = ledger.sweeps.get(sweep.id).elapsed_s
    result = earlier_pace(ledger, spec)
    assert result is not None
    assert result.sweep == "sentiment-smoke#1"
    assert result.rows_per_s == pytest.approx(1500 / elapsed_s)
    assert earlier_pace(ledger, replace(spec, data=replace(spec.data, validation=7))) is None
    assert earlier_pace(ledger, replace(spec, deepspeed=NAMED["zero2"])) is None
    assert earlier_pace(ledger, replace(spec, fixed={**spec.fixed, "epochs": 3.0}, seed=9)) == result


def test_max_duration_is_limited_by_wall_time() -> None:
    pace = Pace(sweep="s#1", rows_per_s=100.0)
    assert max_duration_s(PLAN, pace) == 120
    assert max_duration_s(replace(PLAN, budget=Budget(trials=12, wall_time_s=60)), pace) == 60
    assert max_duration_s(replace(PLAN, budget=Budget(tokens=9)), pace) is None
    assert "≤ 2 min 00 s at the speed of s#1 (100.0 rows/s)" in shown(plan_text(PLAN, pace), 120)
    assert "rows/s" not in shown(plan_text(PLAN), 120)
