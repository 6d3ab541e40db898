"""The prior of a whole sweep: frozen when the sweep is opened, the same after a kill, shown in plan and report."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from typing_extensions import override

from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import Decision, Report, TrialRecord
from orchestrator.ledger.ledger import Ledger
from orchestrator.preparation.prepared import prepare
from orchestrator.preparation.preview import preview
from orchestrator.preparation.request import request_of
from orchestrator.replay.recorded import table_of
from orchestrator.replay.task import spec_of
from orchestrator.report.summary import as_json, summarise
from orchestrator.stores import read_spec
from orchestrator.sweep import SweepOptions, SweepResult, run_sweep
from tests.fakes.tiny_sweep import tiny_sweep

pytestmark = pytest.mark.usefixtures("own_stores")

FROM_LEDGER = "search.prior=ledger"


class Killed(BaseException):
    """Ends the driver without a word."""


class KillAt(SweepObserver):
    """Kills the driver at the first event of a kind."""

    def __init__(self, event: str) -> None:
        self._event = event

    @override
    def prepared(self, plan: EnginePlan) -> None:
        self._reach("prepared")

    @override
    def trial_started(self, trial: TrialRecord) -> None:
        self._reach("trial_started")

    @override
    def reported(self, trial: TrialRecord, report: Report) -> None:
        self._reach("reported")

    @override
    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        self._reach("decided")

    @override
    def trial_ended(self, trial: TrialRecord) -> None:
        self._reach("trial_ended")

    def _reach(self, event: str) -> None:
        if event == self._event:
            raise Killed


def run(file: Path, *overrides: str, fresh: bool = False, kill: str | None = None) -> SweepResult:
    options = SweepOptions(inline=True, fresh=fresh)
    observers = () if kill is None else (KillAt(kill),)
    return run_sweep(read_spec(file, overrides), options, observers, threading.Event(), lambda _line: None)


def params(result: SweepResult) -> list[Mapping[str, ParamValue]]:
    return [record.params for record in result.records]


def test_first_trial_is_the_shipped_point(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    plan = preview(prepare(request_of(read_spec(file)), None))
    assert plan.start_points == 1
    assert plan.prior.startswith("shipped: learning_rate 1e-3, rank 4 (from measurements of lora on models of ")
    result = run(file)
    assert params(result)[0] == {"learning_rate": 1e-3, "rank": 4}
    assert params(result)[1] != params(result)[0]
    assert (result.sweep.facts.start_points, result.sweep.facts.prior) == (1, plan.prior)
    assert as_json(summarise(result.sweep, result.records))["prior"] == plan.prior
    table = table_of(Ledger.open(), result.sweep)
    assert spec_of(table).start_points == ({"learning_rate": 1e-3, "rank": 4},)


@pytest.mark.parametrize("event", ["prepared", "trial_started", "trial_ended"])
def test_killed_sweep_keeps_the_ledgers_points(event: str, tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    start = "search.start=[{learning_rate: 0.005, rank: 2}]"
    earlier = run(file, "name=earlier", start, "budget.trials=1")
    with pytest.raises(Killed):
        run(file, FROM_LEDGER, kill=event)
    if event != "prepared":  # then the sweep has trials, and the ledger may change
        run(file, "name=later", "search.start=[{learning_rate: 0.002, rank: 2}]", "budget.trials=1")
        changed = preview(prepare(request_of(read_spec(file, (FROM_LEDGER, "name=new"))), Ledger.open()))
        assert changed.prior.startswith("ledger: learning_rate 2e-3, rank 2 (the best of later#1, trial 0, with the ")
        assert changed.start_points == 2
    resumed = run(file, FROM_LEDGER)
    assert resumed.sweep.fingerprint["prior"] == [params(earlier)[0]]
    assert params(resumed) == params(run(file, "name=uninterrupted", "search.prior=none", start))
    extended = run(file, "search.prior=none", "budget.trials=3")
    assert (extended.sweep.id, len(extended.records)) == (resumed.sweep.id, 3)
    assert params(extended)[:2] == params(resumed)


def test_changed_ledger_replaces_points_without_trials(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    with pytest.raises(Killed):
        run(file, FROM_LEDGER, kill="prepared")
    (opened,) = Ledger.open().sweeps.all()
    assert opened.fingerprint["prior"] == [{"learning_rate": 1e-3, "rank": 4}]
    run(file, "name=earlier", "search.start=[{learning_rate: 0.005, rank: 2}]", "budget.trials=1")
    resumed = run(file, FROM_LEDGER)
    assert params(resumed)[0] == {"learning_rate": 5e-3, "rank": 2}
    assert {"learning_rate": 1e-3, "rank": 4} not in params(resumed)


def test_fresh_sweep_learns_from_its_own_name(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    first = run(file, "search.prior=none")
    assert (first.sweep.facts.start_points, first.sweep.facts.prior) == (0, None)
    assert "prior" not in first.sweep.fingerprint
    fresh = run(file, FROM_LEDGER, fresh=True)
    assert fresh.sweep.generation == 2
    assert params(fresh)[0] in params(first)
    assert str(fresh.sweep.facts.prior).startswith("ledger: learning_rate ")
