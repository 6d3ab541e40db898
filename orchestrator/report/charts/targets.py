"""Chart of a regression: the winner's predicted numbers over the true ones."""

from orchestrator.report.charts.chart import CYCLE, MUTED, Chart, figure, plain, shorten
from orchestrator.report.summary import Summary

MOST_ROWS = 2_000
"""Most rows drawn, the first ones of the split; their order is random."""


def targets(summary: Summary) -> Chart | None:
    """Draw the predicted numbers of the winner over the true ones, one colour per target."""
    from plotly import graph_objects as go

    best = summary.leaderboard.best
    found = None if best is None else summary.quality.targets.get(best.number)
    if best is None or found is None:
        return None
    true, predicted = found.rows.true_numbers[:MOST_ROWS], found.rows.numbers[:MOST_ROWS]
    ends = [min(map(min, true)), max(map(max, true))]
    ideal = go.Scatter(
        x=ends, y=ends, mode="lines", line={"color": MUTED, "dash": "dot"}, name="equal", hoverinfo="skip"
    )
    points = [
        go.Scatter(
            x=[row[place] for row in true],
            y=[row[place] for row in predicted],
            mode="markers",
            marker={"color": CYCLE[place % len(CYCLE)], "size": 6, "opacity": 0.6},
            name=plain(shorten(each.name)),
            text=[plain(f"row {row}: {each.name}") for row in range(len(true))],
            hovertemplate="%{text}<br>true %{x:.4g}, predicted %{y:.4g}<extra></extra>",
        )
        for place, each in enumerate(found.targets)
    ]
    limits = f" The first {MOST_ROWS:,} test rows are drawn." if len(found.rows.true_numbers) > MOST_ROWS else ""
    axes = {"xaxis": {"title": "true number"}, "yaxis": {"title": "predicted number"}}
    return Chart(
        title="Predicted and true numbers of the test rows",
        message=f"Trial {best.number}: {found.sentence}.{limits}",
        figure=figure([ideal, *points], height=380, **axes),
    )
