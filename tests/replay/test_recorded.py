"""`table_of` returns what a sweep stored; recorded test rows reach the table and nothing else."""

import threading
from pathlib import Path

import pytest
from typing_extensions import override

from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import Action, Decision, Report, TrialRecord
from orchestrator.ledger.ledger import Ledger
from orchestrator.replay.recorded import table_of
from orchestrator.replay.table import TrialTable
from orchestrator.replay.table_file import read_table, write_table
from orchestrator.stores import read_spec
from orchestrator.sweep import SweepOptions, SweepResult, run_sweep
from tests.fakes.tiny_sweep import tiny_sweep


class Killed(BaseException):
    """Ends the driver without a word."""


class KillAtDecision(SweepObserver):
    """Kills the driver after the commit of the first decision to stop: the trial has no final metrics yet."""

    def prepared(self, plan: EnginePlan) -> None:
        """Do nothing."""

    def trial_started(self, trial: TrialRecord) -> None:
        """Do nothing."""

    def reported(self, trial: TrialRecord, report: Report) -> None:
        """Do nothing."""

    @override
    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        if decision.action is Action.STOP:
            raise Killed

    def trial_ended(self, trial: TrialRecord) -> None:
        """Do nothing."""


pytestmark = pytest.mark.usefixtures("own_stores")


def run(file: Path, *overrides: str, observers: tuple[SweepObserver, ...] = ()) -> SweepResult:
    options = SweepOptions(inline=True)
    return run_sweep(read_spec(file, overrides), options, observers, threading.Event(), lambda _line: None)


def table(result: SweepResult) -> TrialTable:
    return table_of(Ledger.open(), result.sweep)


def test_record_survives_kill_and_dropped_adapters(tmp_path: Path) -> None:
    file, overrides = tiny_sweep(tmp_path), ("tracking.record=true", "budget.trials=3")
    with pytest.raises(Killed):
        run(file, *overrides, observers=(KillAtDecision(),))
    result = run(file, *overrides)
    found = table(result)
    assert [trial.number for trial in found.trials] == [0, 1, 2]
    assert len([*(tmp_path / "home/sweeps/tiny-1/trials").glob("*/*/adapter")]) == 1
    for trial, record in zip(found.trials, result.records, strict=True):
        rows = trial.test_rows
        assert rows is not None
        assert len(rows.losses) == 32
        right = [a == b for a, b in zip(rows.predictions, rows.references, strict=True)]
        assert trial.test["accuracy"] == sum(right) / 32
        assert (trial.params, trial.settings, trial.seed) == (record.params, record.settings, record.seed)
        assert [dict(report.metrics) for report in trial.reports] == [dict(report.metrics) for report in record.reports]
    assert found.points == (32, 64)
    write_table(found, tmp_path / "t.parquet")
    stored = read_table(tmp_path / "t.parquet")
    assert stored.trials[0].test_rows is not None
    assert [trial.reports for trial in stored.trials] == [trial.reports for trial in found.trials]


def test_ledger_holds_test_metrics_of_kept_adapters_alone(tmp_path: Path) -> None:
    result = run(tiny_sweep(tmp_path), "tracking.record=true")
    measured = [record.number for record in result.records if any("test" in name for name in record.final)]
    assert len(measured) == 1
    assert not any("test" in name for record in result.records for r in record.reports for name in r.metrics)


def test_sweep_without_recording_has_no_rows(tmp_path: Path) -> None:
    found = table(run(tiny_sweep(tmp_path), "budget.trials=1"))
    assert [trial.test_rows for trial in found.trials] == [None]
    assert "accuracy" in found.trials[0].test  # the kept adapter was measured
