"""A value, its interval and its bound: kept, broken or undecided."""

import math

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.gates import Gates, MetricBound
from orchestrator.core.sweeps.goal import goal
from orchestrator.evaluation.scores.score_intervals import MetricInterval
from orchestrator.promotion.gates.bounds import decide, why_none
from orchestrator.promotion.gates.rules import Verdict, check, check_metrics, verdict_text

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)


def limits(low: float, high: float, rows: int = 400, seed_sd: float | None = None, of: str = "rows") -> MetricInterval:
    return MetricInterval(low=low, high=high, level=0.95, rows=rows, seed_sd=seed_sd, of=of)


@pytest.mark.parametrize(
    ("most", "passed", "words"),
    [
        (0.30, True, "0.1020 to 0.2980, 400 rows"),
        (0.25, True, "not shown: about 3,140 rows would show it"),
        (0.20, True, "400 rows"),
        (0.15, None, "undecided: about 3,140 rows would show that the bound is broken"),
        (0.10, False, "400 rows"),
    ],
)
def test_interval_outside_breaks_a_bound(most: float, passed: bool | None, words: str) -> None:
    # the standard error is 0.05 on 400 rows, and the bound 0.05 away: n = 400 * (1.960 + 0.8416)^2 = 3,140
    decision = decide(0.2, MetricBound(max=most), limits(0.102, 0.298))
    assert decision.passed is passed
    assert decision.note.endswith(words)
    assert decision.rows_needed == (3_140 if passed is None else None)


def test_lower_bound_mirrors_the_upper_one() -> None:
    for least, passed in ((0.1, True), (0.25, None), (0.3, False)):
        assert decide(0.2, MetricBound(min=least), limits(0.102, 0.298)).passed is passed


def test_noise_between_seeds_may_hide_a_broken_bound() -> None:
    decision = decide(0.2, MetricBound(max=0.15), limits(0.102, 0.298, seed_sd=0.03))
    assert (decision.passed, decision.rows_needed) == (None, None)
    assert "no number of rows" in decision.note


def test_value_alone_decides_without_interval() -> None:
    for value, passed in ((0.2, False), (0.1, True), (math.nan, False)):
        decision = decide(value, MetricBound(max=0.15), None, "its rows are not stored")
        assert (decision.passed, decision.note) == (passed, "no interval: its rows are not stored")


def test_shift_drop_has_the_interval_of_two_samples() -> None:
    metrics = {"best_val_accuracy": 0.9, "test/accuracy": 0.8, "shift/tweets/accuracy": 0.6}
    # Newcombe 1998, table II (a): 56/70 and 48/80 by method 10
    intervals = {
        "test/accuracy": limits(0.6920, 0.8773, 70, of="test rows"),
        "shift/tweets/accuracy": limits(0.4904, 0.7005, 80, of="rows of tweets"),
    }
    found = {}
    for most in (0.05, 0.1, 0.4):
        gates = Gates(shift_drop=most)
        found[most] = next(
            each for each in check(metrics, ACCURACY, None, gates, intervals=intervals) if each.gate == "shift"
        )
    assert [each.verdict for each in found.values()] == [Verdict.REFUSE, Verdict.ABSTAIN, Verdict.PROMOTE]
    interval = found[0.4].interval
    assert interval is not None
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-4)
    assert "70 test rows and 80 rows of tweets" in found[0.4].detail
    assert found[0.1].refuses
    assert verdict_text((found[0.1],)).endswith(f"about {found[0.1].rows_needed:,} test rows would decide")


def test_drop_of_a_loss_is_its_rise() -> None:
    metrics = {"test/loss": 0.4, "shift/tweets/loss": 0.9}
    intervals = {"test/loss": limits(0.3, 0.5), "shift/tweets/loss": limits(0.8, 1.0)}
    results = check(metrics, LOSS, None, Gates(shift_drop=0.2), intervals=intervals)
    shift = next(each for each in results if each.gate == "shift")
    assert shift.verdict is Verdict.REFUSE
    assert shift.interval is not None
    assert shift.interval.low == pytest.approx(0.5 - math.hypot(0.1, 0.1))


def test_undecided_default_gap_stops_only_strict() -> None:
    intervals = {"overfit_gap_at_best": limits(0.4, 0.7, of="validation rows")}
    for strict in (False, True):
        results = check({"overfit_gap_at_best": 0.55}, ACCURACY, None, Gates(strict=strict), intervals=intervals)
        gap = next(each for each in results if each.gate == "overfitting")
        assert (gap.verdict, gap.refuses) == (Verdict.ABSTAIN, strict)
        assert gap.rows_of == "validation rows"


def test_metrics_without_interval_say_why() -> None:
    searched = goal(ACCURACY, also=[Metric(name="shift/tweets/loss", direction=Direction.MINIMIZE)])
    assert why_none("shift/tweets/accuracy", searched) == "the search used it"
    assert why_none("val/accuracy", ACCURACY) == "the search used it"
    assert why_none("val/loss", ACCURACY) == "validation rows chose the trial"
    (result,) = check_metrics({"forgetting/loss": 0.2}, ACCURACY, {"forgetting/loss": MetricBound(max=0.1)})
    assert "no interval: its rows are not stored" in result.detail
    assert result.verdict is Verdict.REFUSE
