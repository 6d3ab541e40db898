"""Charts of the winner's classes on the test rows: scores of each class, and the confusion matrix."""

from orchestrator.evaluation.rows.class_scores import ClassScores
from orchestrator.report import words
from orchestrator.report.charts.chart import CYCLE, Chart, figure, plain, shorten
from orchestrator.report.summary import Summary

MOST = 30
"""Most classes drawn."""


def class_bars(summary: Summary) -> Chart | None:
    """Draw precision, recall and F1 of each class, the lowest F1 on top."""
    from plotly import graph_objects as go

    found = _winner(summary)
    if found is None:
        return None
    number, scores = found
    unit = scores.unit
    seen = [each for each in scores.classes if each.f1 is not None]
    shown = sorted(seen, key=lambda each: each.f1 or 0.0)[:MOST][::-1]  # Plotly draws the first one at the bottom
    points = []
    for place, name in enumerate(("precision", "recall", "f1")):
        values = [getattr(each, name) for each in shown]
        texts = [
            plain(f"{each.name}: {name} {words.number(value, 3)}, {each.rows:,} {unit}, {each.predicted:,} predictions")
            for each, value in zip(shown, values, strict=True)
        ]
        points.append(
            go.Scatter(
                x=values,
                y=[*range(len(shown))],
                mode="markers",
                marker={"color": CYCLE[place], "size": 9, "symbol": ("triangle-up", "triangle-down", "circle")[place]},
                name="F1" if name == "f1" else name,
                text=texts,
                hovertemplate="%{text}<extra></extra>",
            )
        )
    axes = {
        "xaxis": {"title": "score on the test rows", "range": [-0.02, 1.02]},
        "yaxis": {"tickvals": [*range(len(shown))], "ticktext": [plain(shorten(each.name)) for each in shown]},
    }
    limits = f" The {MOST} worst of {len(seen)} classes are drawn." if len(seen) > MOST else ""
    return Chart(
        title="Scores of each class",
        message=f"Trial {number}: {scores.sentence}.{limits}",
        figure=figure(points, height=120 + 26 * len(shown), **axes),
    )


def confusion(summary: Summary) -> Chart | None:
    """Draw the share of each class's test rows by prediction. None above 30 classes, or with several labels per row."""
    from plotly import graph_objects as go

    found = _winner(summary)
    if found is None or not found[1].confusion or len(found[1].classes) > MOST:
        return None
    number, scores = found
    names = [plain(shorten(each.name)) for each in scores.classes]
    shares = [[count / max(sum(row), 1) for count in row] for row in scores.confusion]
    texts = [
        [
            plain(f"{count:,} of {sum(row):,} rows of {label.name} are predicted as {prediction.name}")
            for count, prediction in zip(row, scores.classes, strict=True)
        ]
        for row, label in zip(scores.confusion, scores.classes, strict=True)
    ]
    places = [*range(len(names))]
    cells = go.Heatmap(
        x=places,
        y=places,
        z=shares,
        zmin=0,
        zmax=1,
        colorscale=[[0, "rgba(0,114,178,0.04)"], [1, "rgba(0,114,178,0.6)"]],
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        showscale=False,
    )
    counts = go.Scatter(
        x=[place for _ in places for place in places],
        y=[place for place in places for _ in places],
        mode="text",
        text=[str(count) for row in scores.confusion for count in row],
        hoverinfo="skip",
        showlegend=False,
    )
    axes = {
        "xaxis": {"title": "prediction", "tickvals": places, "ticktext": names},
        "yaxis": {"title": "label", "tickvals": places, "ticktext": names, "autorange": "reversed"},
    }
    right = sum(each.hits for each in scores.classes)
    total = sum(each.rows for each in scores.classes)
    return Chart(
        title="Confusion matrix of the test rows",
        message=f"Trial {number}: {right:,} of {total:,} test rows are on the diagonal. Colours are shares of a row.",
        figure=figure([cells, counts], height=160 + 32 * len(names), **axes),
    )


def _winner(summary: Summary) -> tuple[int, ClassScores] | None:
    best = summary.leaderboard.best
    scores = None if best is None else summary.quality.classes.get(best.number)
    return None if best is None or scores is None else (best.number, scores)
