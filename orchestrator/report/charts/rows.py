"""Charts of the winner on the test rows: reliability of its probabilities, and its slices."""

from orchestrator.evaluation.calibration import Reliability
from orchestrator.evaluation.rows.slices import Slice
from orchestrator.report import words
from orchestrator.report.charts.chart import CYCLE, MUTED, Chart, figure, plain, shorten
from orchestrator.report.summary import Summary

MOST = 20
"""Most slices drawn: the worst ones."""


def calibration(summary: Summary) -> Chart | None:
    """Draw the accuracy of the winner over its confidence in bins, before and after temperature scaling."""
    from plotly import graph_objects as go

    best = summary.leaderboard.best
    found = None if best is None else summary.quality.calibrations.get(best.number)
    if best is None or found is None:
        return None
    names = ("own probabilities", f"temperature {found.temperature.value:.2f}")
    ends = [0.0, 1.0]
    ideal = go.Scatter(x=ends, y=ends, mode="lines", line={"color": MUTED, "dash": "dot"}, name="calibrated")
    traces = [
        _reliability(one, name, place)
        for place, (one, name) in enumerate(zip((found.before, found.after), names, strict=True))
    ]
    axes = {
        "xaxis": {"title": "confidence: probability of the prediction", "range": [0, 1.02]},
        "yaxis": {"title": "accuracy", "range": [0, 1.02]},
    }
    return Chart(
        title="Calibration",
        message=f"Trial {best.number}: {found.sentence}.",
        figure=figure([ideal, *traces], height=360, **axes),
    )


def slices(summary: Summary) -> Chart | None:
    """Draw the metric of the winner on slices of the test rows with intervals, the worst slice on top."""
    from plotly import graph_objects as go

    best = summary.leaderboard.best
    found = () if best is None else summary.quality.slices.get(best.number, ())
    if best is None or not found:
        return None
    worst_first = sorted(found, key=lambda each: each.badness, reverse=True)
    shown = worst_first[:MOST][::-1]  # Plotly draws the first one at the bottom
    small = [each.small for each in shown]
    points = go.Scatter(
        x=[each.value for each in shown],
        y=[*range(len(shown))],
        mode="markers",
        marker={"color": CYCLE[0], "size": 9, "symbol": ["circle-open" if one else "circle" for one in small]},
        error_x={
            "type": "data",
            "array": [each.high - each.value for each in shown],
            "arrayminus": [each.value - each.low for each in shown],
            "symmetric": False,
            "thickness": 1.2,
        },
        text=[plain(_slice_text(each)) for each in shown],
        hovertemplate="%{text}<extra></extra>",
    )
    names = [plain(shorten(f"{each.column} = {each.name}")) for each in shown]
    axes = {
        "xaxis": {"title": shown[0].metric},
        "yaxis": {"tickvals": [*range(len(shown))], "ticktext": names},
    }
    limits = f" The {MOST} worst of {len(found)} slices are drawn." if len(found) > MOST else ""
    return Chart(
        title=f"Slices of the test rows: {shown[0].metric}",
        message=f"Trial {best.number}: {dict(summary.quality_lines)['worst slice']}. Open marks: small slices.{limits}",
        figure=figure([points], height=120 + 24 * len(shown), **axes),
        wide=True,
    )


def _slice_text(each: Slice) -> str:
    limits = f"{words.number(each.low, 3)} to {words.number(each.high, 3)}"
    return f"{each.column} = {each.name}: {each.metric} {words.number(each.value, 3)} ({limits}) on {each.rows:,} rows"


def _reliability(measured: Reliability, name: str, place: int) -> object:
    from plotly import graph_objects as go

    texts = [
        f"{name}: accuracy {words.number(each.accuracy.value, 3)} at confidence {words.number(each.confidence, 3)} on "
        f"{each.rows:,} rows"
        for each in measured.bins
    ]
    return go.Scatter(
        x=[each.confidence for each in measured.bins],
        y=[each.accuracy.value for each in measured.bins],
        error_y={
            "type": "data",
            "array": [each.accuracy.high - each.accuracy.value for each in measured.bins],
            "arrayminus": [each.accuracy.value - each.accuracy.low for each in measured.bins],
            "symmetric": False,
            "thickness": 1.0,
        },
        mode="lines+markers",
        marker={"color": CYCLE[place]},
        name=name,
        text=texts,
        hovertemplate="%{text}<extra></extra>",
    )
