"""The chart of the metric over the number of training rows."""

from orchestrator.report import words
from orchestrator.report.charts.chart import CYCLE, MUTED, Chart, figure
from orchestrator.report.learning_curve import answer_text
from orchestrator.report.summary import Summary


def training_rows(summary: Summary) -> Chart | None:
    """Draw the winner's configuration on shares of its rows, and the forecasts for more rows with their intervals."""
    from plotly import graph_objects as go

    curve = summary.learning_curve
    if curve is None:
        return None
    each = [(point.rows, value) for point in curve.points for value in point.values]
    present = curve.points[-1]
    sign = 1 if curve.metric != "test/loss" else -1
    traces = [
        go.Scatter(
            x=[rows for rows, _ in each],
            y=[value for _, value in each],
            mode="markers",
            marker={"color": MUTED, "size": 6},
            name="training",
            hovertemplate="%{x:,} rows: %{y:.4f}<extra></extra>",
        ),
        go.Scatter(
            x=[point.rows for point in curve.points],
            y=[point.mean for point in curve.points],
            mode="lines+markers",
            marker={"color": CYCLE[0], "size": 9},
            name="mean",
            hovertemplate="%{x:,} rows: mean %{y:.4f}<extra></extra>",
        ),
    ]
    if gains := curve.forecasts.gains:
        ends = [sorted((present.mean + sign * gain.low, present.mean + sign * gain.high)) for gain in gains]
        values = [present.mean + sign * gain.value for gain in gains]
        traces.append(
            go.Scatter(
                x=[gain.rows for gain in gains],
                y=values,
                mode="markers",
                marker={"color": CYCLE[1], "size": 9, "symbol": "diamond-open"},
                error_y={
                    "type": "data",
                    "array": [high - value for value, (_, high) in zip(values, ends, strict=True)],
                    "arrayminus": [value - low for value, (low, _) in zip(values, ends, strict=True)],
                    "symmetric": False,
                },
                name="forecast",
                hovertemplate="%{x:,} rows: forecast %{y:.4f}<extra></extra>",
            )
        )
    rows_axis, answer = {"title": "training rows", "type": "log"}, answer_text(curve)
    return Chart(
        title=f"Training rows: {words.short(curve.metric)}",
        message=f"Trial {curve.trial}: {answer}.",
        figure=figure(traces, xaxis=rows_axis, yaxis={"title": words.short(curve.metric)}),
    )
