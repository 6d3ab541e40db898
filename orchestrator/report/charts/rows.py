"""Charts of the test rows of the best kept adapter: calibration and slices. None without stored rows."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from orchestrator.evaluation.slices import Slice, worst_slice
from orchestrator.report import words
from orchestrator.report.charts.chart import CYCLE, MUTED, Chart, figure, plain, shorten
from orchestrator.report.quality import slice_sentence
from orchestrator.report.summary import Summary

if TYPE_CHECKING:
    from orchestrator.evaluation.calibration import Reliability

_MOST_SLICES = 30
"""Most slices in the chart, the worst ones."""


def calibration(summary: Summary) -> Chart | None:
    """Draw the accuracy over the confidence of the best adapter, before and after its temperature."""
    from plotly import graph_objects as go

    number = _best_of(summary, summary.quality.calibrations)
    if number is None:
        return None
    measured = summary.quality.calibrations[number]
    ideal = go.Scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"dash": "dash", "color": MUTED, "width": 1.5},
        name="perfect calibration",
        hoverinfo="skip",
    )
    traces = [
        ideal,
        _bins(measured.before, "own probabilities", CYCLE[0]),
        _bins(measured.after, f"temperature {measured.temperature.value:.2f}", CYCLE[1]),
    ]
    axes = {"xaxis": {"title": "probability of the predicted class"}, "yaxis": {"title": "accuracy"}}
    return Chart(
        title="Calibration",
        message=f"Trial {number}: {measured.sentence}.",
        figure=figure(traces, height=360, **axes),
    )


def _bins(reliability: "Reliability", name: str, colour: str) -> object:
    from plotly import graph_objects as go

    bins = reliability.bins
    values = [one.accuracy.value for one in bins]
    texts = [
        plain(
            f"{name}: {words.number(value, 3)} ({words.number(one.accuracy.low, 3)} to "
            f"{words.number(one.accuracy.high, 3)}) at a probability of {words.number(one.confidence, 3)}, "
            f"{one.rows:,} rows"
        )
        for one, value in zip(bins, values, strict=True)
    ]
    error = {
        "type": "data",
        "symmetric": False,
        "array": [one.accuracy.high - value for one, value in zip(bins, values, strict=True)],
        "arrayminus": [value - one.accuracy.low for one, value in zip(bins, values, strict=True)],
        "thickness": 1,
        "width": 3,
    }
    return go.Scatter(
        x=[one.confidence for one in bins],
        y=values,
        error_y=error,
        mode="lines+markers",
        line={"color": colour, "width": 1.5},
        marker={"size": 7},
        name=name,
        text=texts,
        hovertemplate="%{text}<extra></extra>",
    )


def slices(summary: Summary) -> Chart | None:
    """Draw the metric of the best adapter with its interval on each slice of the test rows, the worst on top."""
    from plotly import graph_objects as go

    number = _best_of(summary, {trial: found for trial, found in summary.quality.slices.items() if found})
    if number is None:
        return None
    found = summary.quality.slices[number]
    worst = worst_slice(found)
    assert worst is not None
    ordered = sorted(found, key=lambda one: -one.value if one.metric == "loss" else one.value)
    shown = ordered[:_MOST_SLICES][::-1]  # Plotly draws the first one at the bottom
    error = {
        "type": "data",
        "symmetric": False,
        "array": [one.high - one.value for one in shown],
        "arrayminus": [one.value - one.low for one in shown],
        "thickness": 1.2,
        "width": 3,
        "color": MUTED,
    }
    points = go.Scatter(
        x=[one.value for one in shown],
        y=[*range(len(shown))],
        error_x=error,
        mode="markers",
        marker={"size": 8, "color": [CYCLE[4] if one == worst else CYCLE[0] for one in shown]},
        text=[plain(_slice_text(one)) for one in shown],
        hovertemplate="%{text}<extra></extra>",
        name=worst.metric,
        showlegend=False,
    )
    names = [plain(shorten(f"{one.column} = {one.name}")) for one in shown]
    axes = {"xaxis": {"title": worst.metric}, "yaxis": {"tickvals": [*range(len(shown))], "ticktext": names}}
    return Chart(
        title=f"Slices of the test rows: {worst.metric}",
        message=f"Trial {number}: {slice_sentence(worst, len(found))}.",
        figure=figure([points], height=130 + 24 * len(shown), **axes),
    )


def _slice_text(one: Slice) -> str:
    limits = f"{words.number(one.low, 3)} to {words.number(one.high, 3)}"
    return f"{one.column} = {one.name}: {one.metric} {words.number(one.value, 3)} ({limits}) on {one.rows:,} rows"


def _best_of(summary: Summary, trials: Collection[int]) -> int | None:
    """Return the best trial of the leaderboard among these; None if there is none."""
    return next((row.number for row in summary.leaderboard.rows if row.number in trials), None)
