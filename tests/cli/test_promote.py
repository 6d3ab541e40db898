"""The results of gates on the screen and in JSON."""

import json

import pytest

from orchestrator.cli.commands.promote import show_judgement
from orchestrator.cli.screen import Screen
from orchestrator.core.sweeps.gates import Gates, MetricBound
from orchestrator.promotion.gates.judge import PromotionRequest, judge
from orchestrator.promotion.gates.rules import GateResult
from orchestrator.statistics.intervals import Interval
from tests.promotion.conftest import Tracked, local_store, tracked, trained
from tests.tracking.records import ACCURACY

__all__ = ["local_store", "tracked", "trained"]

UNDECIDED = GateResult(
    gate="champion",
    passed=None,
    detail="undecided: about 2,000 test rows would show a gain of 0.0150",
    refuses=True,
    rule="test accuracy better than films/1 by more than 0",
    value=0.015,
    interval=Interval(value=0.015, low=-0.01, high=0.04, level=0.95),
    rows_needed=2000,
)
KEYS = {"gate", "passed", "detail", "refuses", "rule", "value", "interval", "verdict", "rows_needed", "rows_of"}


def judged(tracked: Tracked, gates: Gates, *more: GateResult) -> tuple[GateResult, ...]:
    request = PromotionRequest(name="films", metric=ACCURACY, gates=gates)
    return *judge(tracked.trained.store.record, tracked.location, request, tracked.candidates().choose()), *more


def test_json_has_verdicts_and_intervals(tracked: Tracked, capsys: pytest.CaptureFixture[str]) -> None:
    results = judged(tracked, Gates(), UNDECIDED)
    show_judgement(Screen(as_json=True), "films", tracked.candidates().choose(), results, dry_run=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["version"], found["trial"], found["sweep"]) == ("films", None, 2, "films#1")
    assert (found["verdict"], found["dry_run"]) == ("abstain", True)
    assert all(item.keys() == KEYS for item in found["gates"])
    last = found["gates"][-1]
    assert (last["verdict"], last["rows_needed"]) == ("abstain", 2000)
    assert last["interval"] == {"value": 0.015, "low": -0.01, "high": 0.04, "level": 0.95}


def test_screen_shows_rule_and_verdict(tracked: Tracked, capsys: pytest.CaptureFixture[str]) -> None:
    bounds = {"best_val_accuracy": MetricBound(min=0.95)}
    results = judged(tracked, Gates(gap=0.05, metrics=bounds), UNDECIDED)
    show_judgement(Screen(as_json=False), "films", tracked.candidates().choose(), results, dry_run=True)
    shown = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    refused = "✗ best_val_accuracy refuse best_val_accuracy 0.9000, at least 0.95"
    assert f"{refused} (no interval: validation rows chose the trial)" in lines
    assert "! overfitting warning overfit gap 0.1000, at most 0.05 (no interval: its rows are not stored)" in lines
    assert "– leak abstain the rows of the sweep are not available" in lines
    assert "✗ champion abstain undecided: about 2,000 test rows would show a gain of 0.0150" in lines
    assert "rule: overfit gap at most 0.05" in lines
    assert (
        "verdict: refuse, by best_val_accuracy; warnings: overfitting; abstained without effect: leak, near copies"
        in lines
    )
    assert "dry run: nothing was registered" in lines
