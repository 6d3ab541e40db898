"""Leaderboard, baseline warning and time use."""

import math
from dataclasses import replace

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.trials.trial import TrialState
from orchestrator.report.files import table
from orchestrator.report.leaderboard import leaderboard, metric_of
from orchestrator.report.time_use import time_use
from tests.report.examples import make_records, make_sweep, report, trial

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)


def test_trial_is_ranked_by_best_report() -> None:
    overfitted = trial(
        0,
        {"rank": 4},
        (
            report(0, 100, 0, val__accuracy=0.9, val__loss=0.3, gap__loss=0.1),
            report(0, 200, 10, val__accuracy=0.5, val__loss=0.8, gap__loss=0.7),
        ),
    )
    steady = trial(1, {"rank": 8}, (report(1, 100, 0, val__accuracy=0.8, val__loss=0.2, gap__loss=0.0),))
    first, second = leaderboard([steady, overfitted], ACCURACY).rows
    assert (first.number, first.score, first.val_loss, first.gap, first.samples) == (0, 0.9, 0.3, 0.1, 100)
    assert (first.trained, second.number, second.rank) == (200, 1, 2)
    assert [row.number for row in leaderboard([steady, overfitted], LOSS).rows] == [1, 0]


def test_trials_without_score_have_no_rank() -> None:
    nan = trial(0, {"rank": 4}, (report(0, 100, 0, val__accuracy=math.nan),), state=TrialState.FAIL, reason="diverged")
    empty = trial(1, {"rank": 4}, (), state=TrialState.RUNNING)
    good = trial(2, {"rank": 4}, (report(2, 100, 0, val__accuracy=0.5),), state=TrialState.PRUNED)
    board = leaderboard([nan, empty, good], ACCURACY)
    assert [(row.number, row.rank) for row in board.rows] == [(2, 1), (0, None), (1, None)]
    assert board.best is board.rows[0]
    assert leaderboard([nan, empty], ACCURACY).best is None


def test_failed_trial_with_checkpoint_is_ranked() -> None:
    reports = (report(0, 100, 0, val__accuracy=0.9), report(0, 200, 10, val__accuracy=math.nan))
    failed = trial(0, {"rank": 4}, reports, state=TrialState.FAIL)
    other = trial(1, {"rank": 8}, (report(1, 100, 0, val__accuracy=0.8),))
    best = leaderboard([failed, other], ACCURACY).best
    assert best is not None
    assert (best.number, best.samples) == (0, 100)


def test_remeasured_value_is_ranked() -> None:
    kept = trial(
        0,
        {"rank": 4},
        (report(0, 100, 0, val__accuracy=0.9, val__loss=0.3, gap__loss=0.1),),
        final={"val/accuracy": 0.85, "val/loss": 0.31, "gap/loss": 0.12, "test/accuracy": 0.8},
    )
    other = trial(1, {"rank": 8}, (report(1, 100, 0, val__accuracy=0.88),))
    board = leaderboard([kept, other], ACCURACY)
    assert [(row.number, row.score) for row in board.rows] == [(1, 0.88), (0, 0.85)]
    message = "Kept adapters were measured again in float32; the search used 0.9000 for trial 0"
    assert board.remeasured_note == message
    assert leaderboard([other], ACCURACY).remeasured_note is None
    assert (board.rows[1].val_loss, board.rows[1].gap) == (0.31, 0.12)
    assert board.final_metrics == ("test/accuracy",)
    columns, _ = table(board)
    assert len(set(columns)) == len(columns)


def test_final_metrics_list_test_first() -> None:
    board = leaderboard(make_records(), metric_of(make_sweep()))
    assert board.final_metrics == ("test/accuracy", "shift/product/accuracy", "shift/tweets/accuracy")


def test_time_is_split_into_three_parts() -> None:
    side_by_side = [trial(n, {"rank": 4}, (report(n, 100, 1000.0, seconds=10),)) for n in (0, 1)]
    later = trial(2, {"rank": 4}, (report(2, 100, 1015.0, seconds=5),))
    use = time_use([*side_by_side, later], elapsed_s=25.0)
    assert use is not None
    # 15 s of the 25 had a trial at work; reports spend 70 % of their time training and 20 % evaluating.
    assert use.training_s == pytest.approx(0.7 * 15)
    assert use.evaluation_s == pytest.approx(0.2 * 15)
    assert use.outside_s == pytest.approx(25 - 0.9 * 15)
    assert use.busy_slots == pytest.approx(0.9 * 25 / 25)
    assert use.share(use.training_s) == pytest.approx(0.42)


def test_packed_trials_share_pack_time() -> None:
    pack = [trial(n, {"rank": 4}, (report(n, 100, 1000.0, seconds=10),)) for n in range(4)]
    for record in pack:
        share = {"time/train_s": 7 / 4, "time/eval_s": 2 / 4}
        (one,) = record.reports
        pack[record.number] = replace(record, reports=(replace(one, metrics={**one.metrics, **share}),))
    use = time_use(pack, elapsed_s=12.0, together=True)
    assert use is not None
    assert [use.training_s, use.evaluation_s, use.outside_s] == pytest.approx([7, 2, 3])
    assert use.busy_slots == pytest.approx(40 / 12)


def test_shift_measurement_counts_as_evaluation() -> None:
    record = trial(0, {"rank": 4}, (report(0, 100, 0.0, seconds=10),), final={"time/shift_s": 4.0}, ended_at=20.0)
    use = time_use([record], elapsed_s=25.0)
    assert use is not None
    assert [use.training_s, use.evaluation_s] == pytest.approx([7, 2 + 4])


def test_time_parts_never_exceed_wall_time() -> None:
    assert time_use([trial(0, {"rank": 4}, ())], elapsed_s=10) is None
    use = time_use([trial(0, {"rank": 4}, (report(0, 100, 0.0, seconds=20),))], elapsed_s=5)
    assert use is not None
    assert use.elapsed_s == 20
    assert use.training_s + use.evaluation_s + use.outside_s == pytest.approx(use.elapsed_s)
    assert use.outside_s >= 0


@pytest.mark.parametrize(
    ("scores", "test", "baseline", "message"),
    [
        ((0.9,), 0.9, (0.8, 0.8), None),
        ((0.9,), None, (0.8, 0.8), None),
        ((0.8,), 0.85, (0.82, 0.83), "but trial 0 is better on test/accuracy (0.8500 to 0.8300): they are close."),
        ((0.9,), 0.8, (0.82, 0.83), "is better than the baseline on val/accuracy but not on test/accuracy (0.8000 to "),
        ((0.8,), 0.8, (0.82, 0.83), "(0.8000 to 0.8200). Trials were too short to tell: at most 23 optimizer steps"),
        ((0.82,), None, (0.82, 0.83), "Raise training.epochs, or remove it: the epochs then follow from the data."),
        ((0.8, 0.7), 0.8, (0.82, 0.83), "Trials were long enough: 256 optimizer steps. Try more training rows"),
    ],
)
def test_baseline_warning(
    scores: tuple[float, ...], test: float | None, baseline: tuple[float, float], message: str | None
) -> None:
    points = (355,) if len(scores) == 1 else (2048, 4096)
    reports = tuple(report(0, at, 0, val__accuracy=score) for at, score in zip(points, scores, strict=True))
    record = trial(0, {"rank": 4}, reports, final={} if test is None else {"test/accuracy": test})
    values = dict(zip(("val/accuracy", "test/accuracy"), baseline, strict=True))
    messages = leaderboard([record], ACCURACY, values).baseline_warning
    assert messages is None if message is None else messages is not None and message in messages


@pytest.mark.parametrize(
    ("samples", "losses", "message"),
    [
        (320, (0.7, 0.5), "at most 20 optimizer steps, fewer than 256, and val/loss still fell at the last report of "),
        (320, (0.7, 0.695), "at most 20 optimizer steps, fewer than 256. Raise training.epochs"),
        (4800, (0.7, 0.5), "Trials may be too short to tell: after 300 optimizer steps, val/loss still fell at the "),
        (
            4800,
            (0.5, 0.5),
            "long enough: 300 optimizer steps, and val/loss no longer fell at the last report of trial 0",
        ),
    ],
)
def test_advice_follows_steps_and_loss(samples: int, losses: tuple[float, float], message: str) -> None:
    reports = tuple(
        report(0, at, 0, val__accuracy=0.5, val__loss=loss)
        for at, loss in zip((samples // 2, samples), losses, strict=True)
    )
    warning = leaderboard([trial(0, {"rank": 4}, reports)], ACCURACY, {"val/accuracy": 0.8}).baseline_warning
    assert warning is not None
    assert message in warning


def test_overfitted_trials_are_not_called_short() -> None:
    reports = (report(0, 160, 0, val__accuracy=0.5, val__loss=0.5), report(0, 320, 0, val__accuracy=0.5, val__loss=0.6))
    overfitted = trial(0, {"rank": 4}, reports, reason="overfitting: validation loss rose 2 reports in a row")
    warning = str(leaderboard([overfitted], ACCURACY, {"val/accuracy": 0.8}).baseline_warning)
    assert "Even the longest trial overfitted, after 20 optimizer steps. Try more training rows" in warning
    assert "short" not in warning
    limited = replace(overfitted, reason="limit: gap/loss is 0.6, early_stopping.limits asks for gap/loss ≤ 0.5")
    warning = str(leaderboard([limited], ACCURACY, {"val/accuracy": 0.8}).baseline_warning)
    assert "Even the longest trial was ended by early_stopping.limits" in warning


def test_errors_on_suspected_labels_alone_are_named() -> None:
    record = trial(0, {"rank": 4}, (report(0, 320, 0, val__accuracy=0.95, val__loss=0.3),))
    warning = str(leaderboard([record], ACCURACY, {"val/accuracy": 0.95}, label_limit=0.95).baseline_warning)
    assert "reaches 0.9500 on validation, and trial 0 already does. Correct the labels in suspected" in warning
    below = str(leaderboard([record], ACCURACY, {"val/accuracy": 0.95}, label_limit=0.96).baseline_warning)
    assert "too short to tell" in below


def test_minimised_metric_compares_with_baseline() -> None:
    record = trial(0, {"rank": 4}, (report(0, 100, 0, val__loss=0.4),), final={"test/loss": 0.5})
    loss = Metric(name="val/loss", direction=Direction.MINIMIZE)
    assert leaderboard([record], loss, {"val/loss": 0.6, "test/loss": 0.6}).baseline_warning is None
    assert "No trial is better" in str(leaderboard([record], loss, {"val/loss": 0.3}).baseline_warning)
