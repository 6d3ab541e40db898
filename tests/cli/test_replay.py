"""``replay``: figures of searches over recorded trials, from a table and from a stored sweep."""

import json
from pathlib import Path

import pytest

from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.facts import FactChanges
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import Outcome, Report, TrialRecord, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.replay.table_file import write_table
from orchestrator.search.sweeps import open_sweep
from tests.cli.conftest import Invoke
from tests.replay.tables import ACCURACY, POINTS, SPEC, made_table

FINGERPRINT = {"stopping": {"grace_samples": 100, "metric": "val/loss"}, "epochs": 3.0}


def stored_sweep(trials: int = 6, stopped_at: int = 300) -> None:
    """Store a sweep whose second half was stopped early."""
    ledger = Ledger.open()
    sweep = open_sweep(ledger, "made", FINGERPRINT, SPEC)
    for trial in made_table(trials).trials:
        record = TrialRecord(
            number=trial.number,
            params=trial.params,
            settings=trial.settings,
            seed=trial.seed,
            state=TrialState.RUNNING,
        )
        ledger.trials.add(sweep.id, record, trial.number)
        whole = trial.number < trials / 2
        for report in trial.reports:
            if whole or report.samples <= stopped_at:
                stored = Report(
                    trial=trial.number,
                    nominal_samples=report.samples,
                    metrics=report.metrics,
                    checkpoint=None,
                    started_at=0.0,
                    ended_at=report.seconds,
                )
                ledger.trials.add_report(sweep.id, stored)
        state = TrialState.COMPLETE if whole else TrialState.PRUNED
        reason = "reached its budget" if whole else f"not among the best 1 of 3 at {stopped_at} samples"
        ledger.trials.end(sweep.id, trial.number, Outcome(state=state, reason=reason), final={}, ended_at=1.0)
    facts: FactChanges = {"metric": ACCURACY}
    ledger.sweeps.update(sweep.id, status=SweepStatus.FINISHED, facts=facts)


def test_table_is_replayed_beside_its_own_sweep(tmp_path: Path, invoke: Invoke) -> None:
    file = tmp_path / "made.parquet"
    write_table(made_table(30), file)
    changes = ("--set", "early_stopping.rule=asha", "--set", "early_stopping.grace_samples=100")
    shown = invoke("replay", str(file), *changes).stdout
    assert "made: 30 trials, 30 configurations" in shown
    assert "own sweep file" in shown
    assert "regret, test/accuracy" in shown
    assert "stopped at 100 samples: trials" in shown
    document = json.loads(invoke("replay", str(file), *changes, "--seeds", "2", "--json").stdout)
    assert [replay["seed"] for replay in document["replays"]] == [3, 4]
    assert all(
        replay["samples"] < own["samples"] for replay, own in zip(document["replays"], document["own"], strict=True)
    )
    assert {replay["regret_metric"] for replay in document["replays"]} == {"test/accuracy"}


def test_sweep_keeps_its_order_and_says_what_is_unknown(invoke: Invoke) -> None:
    stored_sweep()
    document = json.loads(invoke("replay", "made", "--json").stdout)
    (replay,) = document["replays"]
    assert replay["trials"] == 6
    assert replay["unknown"] == {"300": [3, 4, 5]}
    assert replay["samples"] == 3 * POINTS[-1] + 3 * 300
    shown = invoke("replay", "made", "--set", "early_stopping.rule=median", "--set", "early_stopping.grace_samples=100")
    assert "stopped at 100 samples" in shown.stdout


def test_sweep_without_report_is_refused(invoke: Invoke) -> None:
    ledger = Ledger.open()
    sweep = ledger.sweeps.create("made", 1, {}, SPEC)
    ledger.sweeps.update(sweep.id, status=SweepStatus.RUNNING, facts={"metric": ACCURACY})
    with pytest.raises(UserError, match="made has no report to replay"):
        invoke("replay", "made")


def test_table_needs_its_suffix(tmp_path: Path, invoke: Invoke) -> None:
    stored_sweep()
    with pytest.raises(UserError, match=r"must end in \.parquet"):
        invoke("table", "made", str(tmp_path / "out.pq"))
    assert not (tmp_path / "out.pq").exists()
