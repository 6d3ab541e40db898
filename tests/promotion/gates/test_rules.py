"""Results of the gates."""

import math
from dataclasses import replace

import pytest

from benchmarks.intervals import FEW_SHOT
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.gates import Gates, MetricBound
from orchestrator.core.tasks.problem import Problem
from orchestrator.evaluation.shift import shift_metrics
from orchestrator.promotion.gates.latency import Latency, judge_latency, judge_ratio
from orchestrator.promotion.gates.rules import (
    GateResult,
    Verdict,
    as_strict,
    check,
    check_metrics,
    check_size,
    compare,
    overall,
    stop_if_unmeasured,
    verdict_text,
)
from orchestrator.replay.table_file import read_table
from orchestrator.statistics.intervals import Interval
from orchestrator.tracking.runs.summary import summary

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)
GOOD = {"best_val_accuracy": 0.85, "best_val_loss": 0.4, "train_loss_at_best": 0.3, "overfit_gap_at_best": 0.1}
MEMORISER = {"best_val_loss": 1.43, "train_loss_at_best": 0.03, "overfit_gap_at_best": 1.4}


def passed(
    metrics: dict[str, float], metric: Metric, baseline: dict[str, float] | None, gates: Gates
) -> dict[str, bool | None]:
    return {item.gate: item.passed for item in check(metrics, metric, baseline, gates)}


def test_a_good_winner_passes_all() -> None:
    assert passed(GOOD, ACCURACY, {"val/accuracy": 0.8}, Gates()) == {
        "finite": True, "baseline": True, "overfitting": True, "memoriser": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "baseline", "min_gain", "expected"),
    [
        (ACCURACY, {"val/accuracy": 0.85}, 0.0, False),
        (ACCURACY, {"val/accuracy": 0.9}, 0.0, False),
        (ACCURACY, {"val/accuracy": 0.84}, 0.02, False),
        (ACCURACY, {"val/accuracy": 0.8}, 0.02, True),
        (LOSS, {"val/loss": 0.5}, 0.0, True),
        (LOSS, {"val/loss": 0.3}, 0.0, False),
        (LOSS, {"val/accuracy": 0.3}, 0.0, None),
        (LOSS, None, 0.0, None),
    ],
)
def test_baseline_gate_follows_metric_direction(
    metric: Metric, baseline: dict[str, float] | None, min_gain: float, expected: bool | None
) -> None:
    assert passed(GOOD, metric, baseline, Gates(baseline_gain=min_gain))["baseline"] is expected


def test_large_gap_and_nan_fail() -> None:
    results = passed(GOOD | {"overfit_gap_at_best": 0.6, "shift/tweets/loss": math.nan}, ACCURACY, None, Gates(gap=0.5))
    assert results == {"finite": False, "baseline": None, "overfitting": False, "memoriser": True}


def test_undefined_shift_metrics_are_left_out() -> None:
    one_class = shift_metrics({"tweets": {"loss": 0.5, "auroc": math.nan}}, 1.0)
    assert passed(GOOD | one_class, ACCURACY, None, Gates())["finite"]
    diverged = shift_metrics({"tweets": {"loss": math.nan, "auroc": math.nan}}, 1.0)
    assert passed(GOOD | diverged, ACCURACY, None, Gates())["finite"] is False


@pytest.mark.parametrize("problem", [Problem.MULTI_LABEL, Problem.REGRESSION])
def test_memoriser_bounds_are_in_nats(problem: Problem) -> None:
    [result] = [item for item in check(MEMORISER, LOSS, None, Gates(), problem=problem) if item.gate == "memoriser"]
    assert result.verdict is Verdict.ABSTAIN
    assert result.detail.startswith("its bounds do not fit the loss of ")


def test_gates_can_be_switched_off() -> None:
    gates = Gates(gap=None, baseline_gain=None, memoriser_gap=None)
    assert set(passed(GOOD, ACCURACY, None, gates)) == {"finite"}


@pytest.mark.parametrize(
    ("value", "other", "expected"),
    [(0.8, 0.9, (False, True)), (0.9, 0.9, (True, False)), (0.9, 0.8, (True, False)), (None, 0.8, (None, False))],
)
def test_comparison_refuses_worse_value(value: float | None, other: float, expected: tuple[bool | None, bool]) -> None:
    results = compare("best trial", ACCURACY, value, other, "trial 2")
    assert (results.passed, results.refuses) == expected


def test_only_a_value_below_the_baseline_refuses() -> None:
    refuses = [
        next(
            item.refuses for item in check(GOOD, ACCURACY, {"val/accuracy": value}, Gates()) if item.gate == "baseline"
        )
        for value in (0.8, 0.85, 0.9)
    ]
    assert refuses == [False, False, True]


def result_of(gate: str, metrics: dict[str, float], gates: Gates, metric: Metric = ACCURACY) -> GateResult:
    return next(item for item in check(metrics, metric, {"val/accuracy": 0.85}, gates) if item.gate == gate)


def test_default_bounds_warn_and_written_refuse() -> None:
    for gate, bound in (("overfitting", "gap"), ("baseline", "baseline_gain")):
        metrics = GOOD | {"overfit_gap_at_best": 0.6}
        default = result_of(gate, metrics, Gates())
        assert (default.passed, default.verdict) == (False, Verdict.PROMOTE)
        written = result_of(gate, metrics, Gates(written=frozenset({bound})))
        assert (written.refuses, written.verdict) == (True, Verdict.REFUSE)


@pytest.mark.parametrize(
    ("changes", "caught"),
    [({}, True), ({"train_loss_at_best": 0.2}, False), ({"overfit_gap_at_best": 0.4}, False)],
)
def test_memoriser_knows_rows_but_not_task(changes: dict[str, float], *, caught: bool) -> None:
    result = result_of("memoriser", MEMORISER | changes, Gates())
    assert result.verdict is (Verdict.REFUSE if caught else Verdict.PROMOTE)
    assert ("a memoriser" in result.detail) is caught


@pytest.mark.parametrize(("accuracy", "chance", "caught"), [(0.6, 0.5, True), (0.75, 0.5, False), (0.75, None, True)])
def test_few_rows_are_no_fault(accuracy: float, chance: float | None, *, caught: bool) -> None:
    accuracies = {"train_accuracy_at_best": 1.0, "best_val_accuracy": accuracy}
    results = check(MEMORISER | accuracies, ACCURACY, None, Gates(), chance)
    assert next(item for item in results if item.gate == "memoriser").refuses is caught


def test_best_adapters_on_few_rows_are_no_memorisers() -> None:
    trials = [group[0] for group in read_table(FEW_SHOT).configurations()]
    best = [best.metrics for trial in trials if (best := trial.best(ACCURACY)) is not None]
    metrics = [summary(0, each) for each in best]
    memorised = [each["train_loss_at_best"] <= 0.05 and each["overfit_gap_at_best"] >= 0.5 for each in metrics]
    assert sum(memorised) >= 10
    results = [item for each in metrics for item in check(each, ACCURACY, None, Gates(), 0.5)]
    assert not any(item.refuses for item in results if item.gate == "memoriser")


def test_shift_gate_names_worst_set() -> None:
    metrics = GOOD | {"test/accuracy": 0.9, "shift/tweets/accuracy": 0.7, "shift/news/accuracy": 0.85}
    result = result_of("shift", metrics | {"shift/tweets/loss": 9.0}, Gates(shift_drop=0.1))
    assert result.verdict is Verdict.REFUSE
    assert result.value == pytest.approx(0.2)
    assert "on tweets 0.7000" in result.detail
    assert result_of("shift", metrics, Gates(shift_drop=0.3)).passed
    assert result_of("shift", GOOD, Gates(shift_drop=0.1)).verdict is Verdict.ABSTAIN


def test_forgetting_gate_abstains_without_metric() -> None:
    gates = Gates(forgetting=0.1)
    assert result_of("forgetting", GOOD, gates).verdict is Verdict.ABSTAIN
    assert result_of("forgetting", GOOD | {"forgetting/loss": 0.4}, gates).verdict is Verdict.REFUSE
    assert result_of("forgetting", GOOD | {"forgetting/loss": 0.05}, gates).passed


@pytest.mark.parametrize("bound", ["forgetting", "shift_drop", "gap", "baseline_gain", "memoriser_gap"])
def test_unmeasured_gate_stops_if_its_bound_is_written(bound: str) -> None:
    for written, verdict in ((frozenset[str](), Verdict.PROMOTE), (frozenset({bound}), Verdict.ABSTAIN)):
        gates = replace(Gates(forgetting=0.1, shift_drop=0.1), written=written)
        unmeasured = check({"best_val_accuracy": 0.9}, ACCURACY, None, gates)
        assert overall(stop_if_unmeasured(unmeasured, gates)) is verdict


def test_stored_metric_without_value_stops() -> None:
    gates = Gates(metrics={"test/ece": MetricBound(max=0.1)})
    (result,) = stop_if_unmeasured(check_metrics({}, ACCURACY, gates.metrics), gates)
    assert (result.verdict, result.refuses) == (Verdict.ABSTAIN, True)


def test_stored_metrics_have_ranges() -> None:
    bounds = {"test/ece": MetricBound(max=0.1), "test/accuracy": MetricBound(min=0.8, max=1.0), "x": MetricBound(min=0)}
    results = check_metrics({"test/ece": 0.2, "test/accuracy": 0.9}, ACCURACY, bounds)
    assert [item.verdict for item in results] == [Verdict.REFUSE, Verdict.PROMOTE, Verdict.ABSTAIN]
    assert results[0].rule == "test/ece at most 0.1"
    assert results[1].rule == "test/accuracy at least 0.8 and at most 1"
    assert results[1].detail.startswith("test/accuracy 0.9000, at least 0.8 and at most 1 (no interval: ")
    assert results[2].detail == "no metric x is stored"


def test_size_gate_counts_bytes() -> None:
    assert check_size(1_000, 1_000).passed
    refused = check_size(2_001_000, 2_000_000)
    assert (refused.verdict, refused.detail) == (Verdict.REFUSE, "2,001,000 bytes, at most 2,000,000")
    assert check_size(None, 1_000).verdict is Verdict.ABSTAIN


def test_refusal_outweighs_abstention() -> None:
    undecided = GateResult(gate="champion", passed=None, detail="", refuses=True)
    broken = GateResult(gate="leak", passed=False, detail="", refuses=True)
    unmeasured = GateResult(gate="baseline", passed=None, detail="")
    assert overall((undecided, broken)) is Verdict.REFUSE
    assert overall((undecided, unmeasured)) is Verdict.ABSTAIN
    assert overall((unmeasured,)) is Verdict.PROMOTE


def test_verdict_names_gates_and_rows() -> None:
    undecided = GateResult(gate="champion", passed=None, detail="", refuses=True, value=0.01, rows_needed=2_000)
    small = GateResult(gate="slices", passed=None, detail="", refuses=True, value=0.0, rows_needed=5_000)
    warned = GateResult(gate="overfitting", passed=False, detail="")
    assert verdict_text((undecided, small)) == (
        "verdict: abstain, by champion, slices; about 5,000 test rows would decide"
    )
    hidden = replace(undecided, rows_needed=None)
    assert verdict_text((hidden, small)) == "verdict: abstain, by champion, slices; more test rows alone do not decide"
    assert verdict_text((warned,)) == "verdict: promote; warnings: overfitting"
    assert verdict_text(as_strict((warned, hidden))) == "verdict: refuse, by overfitting"


@pytest.mark.parametrize(
    ("most_ms", "verdict"), [(10.0, Verdict.PROMOTE), (9.0, Verdict.ABSTAIN), (7.9, Verdict.REFUSE)]
)
def test_latency_needs_rounds_that_agree(most_ms: float, verdict: Verdict) -> None:
    found = Latency(
        p95_ms=9.5, rounds_ms=(8.0, 8.5, 10.0), ratios=(1.1, 1.3, 1.2), rows=60, tokens=64, machine="a CPU, 2 cores"
    )
    result = judge_latency(found, most_ms)
    assert (result.verdict, result.refuses) == (verdict, verdict is not Verdict.PROMOTE)
    assert "p95 of 60 rows (8.0 to 10.0 in 3 rounds) on a CPU, 2 cores" in result.detail
    assert ("the rounds disagree" in result.detail) is (verdict is Verdict.ABSTAIN)


@pytest.mark.parametrize(("most", "verdict"), [(1.3, Verdict.PROMOTE), (1.15, Verdict.ABSTAIN), (1.0, Verdict.REFUSE)])
def test_latency_ratio_needs_rounds_that_agree(most: float, verdict: Verdict) -> None:
    found = Latency(p95_ms=9.5, rounds_ms=(8.0, 8.5, 10.0), ratios=(1.1, 1.3, 1.2), rows=60, tokens=64, machine="a CPU")
    result = judge_ratio(found, most)
    assert (result.gate, result.value, result.verdict) == ("latency ratio", 1.2, verdict)
    assert result.interval == Interval(value=1.2, low=1.1, high=1.3, level=0.75)  # of three rounds
