"""The charts of the report page, and the progress of the search behind them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import Constraint, goal
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.evaluation.calibration import calibrate
from orchestrator.evaluation.rows.class_scores import class_scores
from orchestrator.evaluation.rows.slices import measured_slices, worst_slice
from orchestrator.evaluation.rows.target_errors import target_errors
from orchestrator.evaluation.scores.learning_curve import (
    CurvePoint,
    Forecasts,
    Gain,
    LearningCurve,
    MoreRows,
    RowsNeeded,
)
from orchestrator.report.charts import CHARTS
from orchestrator.report.charts.chart import plain
from orchestrator.report.charts.classes import class_bars, confusion
from orchestrator.report.charts.rows import calibration, slices
from orchestrator.report.charts.search import best_so_far, survival
from orchestrator.report.charts.targets import targets
from orchestrator.report.charts.training_rows import training_rows
from orchestrator.report.files import draw
from orchestrator.report.html import render_page
from orchestrator.report.learning_curve import answer_text
from orchestrator.report.quality import Quality
from orchestrator.report.search_progress import TrialBest, progress, stages
from orchestrator.report.summary import Importances, Summary, summarise
from tests.report.examples import make_records, make_sweep, report, trial

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


FORECASTS = Forecasts(
    answer=MoreRows.HELP,
    gains=(Gain(rows=800, value=0.012, low=0.003, high=0.021), Gain(rows=1600, value=0.02, low=0.004, high=0.04)),
    needed=RowsNeeded(gain=0.01, rows=700, low=550, high=1200),
)
CURVE = LearningCurve(
    trial=0,
    metric="test/accuracy",
    points=tuple(
        CurvePoint(share=share, rows=round(400 * share), values=(value - 0.01, value + 0.01))
        for share, value in ((0.125, 0.70), (0.25, 0.75), (0.5, 0.78), (1.0, 0.80))
    ),
    test_rows=1000,
    forecasts=FORECASTS,
)


@pytest.fixture
def summary() -> Summary:
    sweep = make_sweep()
    importances = Importances(values={"learning_rate": 0.71, "rank": 0.29})
    made = summarise(replace(sweep, facts=replace(sweep.facts, start_points=2)), make_records(), importances)
    assert made.leaderboard.best is not None
    return replace(made, quality=example_quality(made.leaderboard.best.number), learning_curve=CURVE)


def example_quality(number: int) -> Quality:
    """Return the quality of one trial on 300 random test rows with a column."""
    draw = np.random.default_rng(7)
    references = draw.integers(2, size=300)
    logits = 3.0 * draw.normal(size=(300, 2))
    rows = RowMeasures(
        losses=(0.5,) * 300,
        units=(1.0,) * 300,
        predictions=tuple(logits.argmax(axis=1).tolist()),
        references=tuple(references.tolist()),
        tokens=tuple(range(300)),
        logits=tuple(map(tuple, logits.tolist())),
    )
    scores = class_scores(rows, ("<b>no</b>", "yes"))
    assert scores is not None
    calibration = calibrate(rows, rows)
    assert calibration is not None
    columns = {"channel": [f"<c> {row % 40}" for row in range(300)]}
    numbers = replace(rows, numbers=((1.0, 2.0), (3.0, 0.0)), true_numbers=((1.5, 2.0), (1.0, 4.0)))
    errors = target_errors(numbers, ("<b>joy</b>", "anger"))
    assert errors is not None
    return Quality(
        slices={number: measured_slices(rows, columns)},
        calibrations={number: calibration},
        classes={number: scores},
        targets={number: errors},
    )


def curve(number: int, values: tuple[float, ...], *, begin: float = 0.0, **other: object) -> TrialRecord:
    reports = [report(number, 100 * (n + 1), begin + 10 * n, val__accuracy=value) for n, value in enumerate(values)]
    return trial(number, {"rank": 4 + number}, tuple(reports), **other)


def test_progress_counts_samples_of_all_trials() -> None:
    first, second = curve(0, (0.5, 0.7)), curve(1, (0.6, 0.65, math.nan), begin=1.0)
    course = progress((first, second), ACCURACY)
    assert course.spent == 500
    assert course.trials == (TrialBest(trial=0, spent=300, value=0.7), TrialBest(trial=1, spent=400, value=0.65))
    assert [(one.trial, one.spent, one.value) for one in course.improvements] == [
        (0, 100, 0.5),
        (1, 200, 0.6),
        (0, 300, 0.7),
    ]


def test_progress_follows_direction_of_metric() -> None:
    loss = Metric(name="val/accuracy", direction=Direction.MINIMIZE)
    assert [one.value for one in progress((curve(0, (0.5, 0.7, 0.4)),), loss).improvements] == [0.5, 0.4]
    assert progress((trial(0, {}, ()),), loss).trials == ()


def test_progress_prefers_reports_within_the_constraints() -> None:
    limited = goal(ACCURACY, constraints=[Constraint(name="val/accuracy", max=0.68)])
    course = progress((curve(0, (0.9, 0.5)), curve(1, (0.6, 0.7), begin=1.0)), limited)
    assert [(one.trial, one.value) for one in course.improvements] == [(0, 0.9), (1, 0.6)]
    assert [one.value for one in course.trials] == [0.5, 0.6]


def test_stages_count_every_trial_once() -> None:
    records = (
        curve(0, (0.5, 0.6, 0.7)),
        curve(1, (0.5,), state=TrialState.PRUNED),
        curve(2, (0.5, 0.6), state=TrialState.RUNNING, ended_at=None),
    )
    found = stages(records)
    assert [(stage.samples, stage.reached, stage.passed) for stage in found] == [(100, 3, 2), (200, 2, 1), (300, 1, 0)]
    assert [dict(stage.ended) for stage in found] == [
        {TrialState.PRUNED: 1},
        {TrialState.RUNNING: 1},
        {TrialState.COMPLETE: 1},
    ]


def test_all_charts_are_drawn_with_messages(summary: Summary) -> None:
    charts = draw(summary)
    assert charts.keys() == CHARTS.keys() - {"pareto_front"}  # one metric has no front
    for chart in charts.values():
        assert chart.title
        assert chart.message.endswith(".")
    page = render_page(summary, charts)
    for name, chart in charts.items():
        assert f'id="{name}" role="img" tabindex="0" aria-label="{chart.title}. ' in page


def test_best_so_far_marks_start_points(summary: Summary) -> None:
    chart = best_so_far(summary)
    assert chart is not None
    traces = {trace.name: trace for trace in chart.figure.data}
    assert traces.keys() == {"best so far", "complete", "pruned", "start point", "baseline"}
    assert len(traces["start point"].x) == 2
    assert list(traces["best so far"].y) == sorted(traces["best so far"].y)
    assert "The best start point, trial " in chart.message
    assert "no proposal was better" not in chart.message


def test_best_start_point_is_named_as_winner(summary: Summary) -> None:
    first = replace(summary, sweep=replace(summary.sweep, facts=replace(summary.sweep.facts, start_points=8)))
    chart = best_so_far(first)
    assert chart is not None
    assert chart.message.endswith("It is a start point: no proposal was better.")


def test_slices_show_the_worst_on_top(summary: Summary) -> None:
    chart = slices(summary)
    assert chart is not None
    (points,) = chart.figure.data
    assert summary.leaderboard.best is not None
    worst = worst_slice(summary.quality.slices[summary.leaderboard.best.number])
    assert worst is not None
    assert len(points.y) == 20
    assert chart.figure.layout.yaxis.ticktext[-1] == plain(f"{worst.column} = {worst.name}")
    assert points.text[-1].startswith(plain(f"{worst.column} = {worst.name}: accuracy {worst.value:.3f} ("))
    assert chart.message.endswith("The 20 worst of 43 slices are drawn.")


def test_calibration_has_both_reliabilities(summary: Summary) -> None:
    chart = calibration(summary)
    assert chart is not None
    ideal, before, after = chart.figure.data
    assert ideal.name == "calibrated"
    assert max(after.x) < max(before.x)  # random logits are too sure
    assert "expected calibration error" in chart.message


def test_survival_names_rung_of_most_stops(summary: Summary) -> None:
    chart = survival(summary)
    assert chart is not None
    expected = "12 trials reported at 1,333 samples, 8 at 8,000. 3 were stopped early, at 2,667."
    assert chart.message == expected


def test_target_chart_has_predicted_over_true(summary: Summary) -> None:
    chart = targets(summary)
    assert chart is not None
    _, joy, anger = chart.figure.data
    assert (list(joy.x), list(joy.y), list(anger.x), list(anger.y)) == ([1.5, 1.0], [1.0, 3.0], [2.0, 4.0], [2.0, 0.0])
    assert joy.name == "&lt;b&gt;joy&lt;/b&gt;"


def test_names_in_charts_are_escaped() -> None:
    metric = {"name": "val/<b>&", "direction": "maximize"}
    records = [trial(0, {}, (report(0, 8, 0.0, **{"val/<b>&": 0.5}),))]
    chart = best_so_far(summarise(make_sweep(fingerprint={"metric": metric}), records))
    assert chart is not None
    assert chart.figure.layout.yaxis.title.text == "val &lt;b&gt;&amp;"


def test_page_of_2000_trials_is_small() -> None:
    records = make_records(12) * 167
    many = summarise(make_sweep(), [replace(record, number=n) for n, record in enumerate(records)][:2000])
    charts = draw(many)
    of_rows = {"training_rows", "slices", "calibration", "class_scores", "confusion", "targets"}
    assert charts.keys() == CHARTS.keys() - {"importances", "pareto_front", *of_rows}
    assert all(len(chart.figure.data) <= 12 for chart in charts.values())
    sizes = {name: len(json.dumps(chart.figure.to_plotly_json())) for name, chart in charts.items()}
    assert sum(sizes.values()) < 6_000_000, sizes


def test_training_rows_have_forecasts_with_intervals(summary: Summary) -> None:
    chart = training_rows(summary)
    assert chart is not None
    _, means, forecast = chart.figure.data
    assert (list(means.x), list(means.y)) == ([50, 100, 200, 400], [0.70, 0.75, 0.78, 0.80])
    assert list(forecast.x) == [800, 1600]
    assert list(forecast.y) == pytest.approx([0.812, 0.82])
    assert list(forecast.error_y.arrayminus) == pytest.approx([0.009, 0.016])
    assert chart.message == (
        "Trial 0: more rows would help: twice the rows (800) improve test/accuracy by about 0.012 [0.003, 0.021], "
        "1,600 rows by about 0.020 [0.004, 0.040] (95 % intervals: 1,000 test rows, seeds and choice of rows); "
        "an improvement by 0.01 needs about 700 training rows [550, 1,200]."
    )


@pytest.mark.parametrize(
    ("forecasts", "expected"),
    [
        (
            replace(FORECASTS, answer=MoreRows.HARDLY),
            "more rows would hardly help: twice the rows (800) improve ",
        ),
        (
            replace(FORECASTS, answer=MoreRows.UNKNOWN),
            "cannot be told: twice the rows (800) may change test/acc",
        ),
        (replace(FORECASTS, gains=(), missing="few rows"), "whether more rows would help cannot be told: few rows"),
    ],
)
def test_answer_on_more_rows_names_its_numbers(forecasts: Forecasts, expected: str) -> None:
    assert expected in answer_text(replace(CURVE, forecasts=forecasts))


def test_class_charts_count_the_test_rows(summary: Summary) -> None:
    matrix, bars = confusion(summary), class_bars(summary)
    assert matrix is not None
    assert bars is not None
    counts = matrix.figure.data[1].text
    assert sum(map(int, counts)) == 300
    assert "&lt;b&gt;no" in str(matrix.figure.layout.xaxis.ticktext)
    assert "has the lowest F1" in bars.message


@pytest.mark.parametrize(
    ("rows", "low", "high", "answer"),
    [
        (700, 550, 1200, "an improvement by 0.01 needs about 700 training rows [550, 1,200]"),
        (700, 550, None, "how many rows give an improvement by 0.01 cannot be told: at least 550 training rows"),
        (None, None, None, "an improvement by 0.01 needs more than 4 times the rows, if any number gives it"),
    ],
)
def test_learning_curve_says_how_many_rows(rows: int | None, low: int | None, high: int | None, answer: str) -> None:
    needed = RowsNeeded(gain=0.01, rows=rows, low=low, high=high)
    assert answer_text(replace(CURVE, forecasts=replace(FORECASTS, needed=needed))).endswith(f"; {answer}")
