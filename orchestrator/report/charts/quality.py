"""Charts of the quality of trials: overfit gap against score, and the metric on other splits."""

import math

from orchestrator.core.sweeps.sweep import state_word
from orchestrator.core.trials.trial import TrialState
from orchestrator.report import words
from orchestrator.report.charts.chart import BEST, CYCLE, MUTED, Chart, figure, plain, state_points
from orchestrator.report.leaderboard import Row
from orchestrator.report.summary import Summary

_MARKS = (("front", "Pareto front", CYCLE[0]), ("", "dominated", MUTED), ("outside", "outside", CYCLE[4]))
"""Mark, name and colour of each group of trials."""


def gap_and_score(summary: Summary) -> Chart | None:
    """Draw the score of each trial over its overfit gap at the same checkpoint."""
    board = summary.leaderboard
    rows = [row for row in board.rows if _is_finite(row.gap) and _is_finite(row.score)]
    if not rows:
        return None
    traces = []
    for state in TrialState:
        here = [row for row in rows if row.state is state]
        if here:
            word = state_word(state, board.status)
            points = [
                (
                    row.gap,
                    row.score,
                    plain(f"trial {row.number}, {word}: {words.number(row.score)}, gap {words.signed(row.gap)}"),
                )
                for row in here
                if row.gap is not None and row.score is not None
            ]
            traces.append(state_points(state, word, points))
    axes = {
        "xaxis": {"title": "overfit gap: validation loss − training loss"},
        "yaxis": {"title": plain(words.short(board.metric.name))},
    }
    return Chart(title="Overfit gap and score", message=_gap_message(rows), figure=figure(traces, height=320, **axes))


def _gap_message(rows: list[Row]) -> str:
    gaps = sorted(row.gap for row in rows if row.gap is not None)
    best = rows[0]
    return (
        f"Trial {best.number}, the best with a gap, has {words.signed(best.gap)}; "
        f"the median of {len(gaps)} trials is {words.signed(gaps[len(gaps) // 2])}."
    )


def pareto_front(summary: Summary) -> Chart | None:
    """Draw the trials by the first two metrics of a goal, the Pareto front as a line; None with one metric."""
    from plotly import graph_objects as go

    board = summary.leaderboard
    if len(board.metric.metrics) == 1:
        return None
    first, second = board.metric.metrics[:2]
    points = [
        (row.mark, float(value), float(row.score), plain(f"trial {row.number}, {row.mark or 'dominated'}"))
        for row in board.rows
        if row.score is not None and (value := row.also.get(second.name)) is not None
    ]
    if not points:
        return None
    traces = []
    for mark, name, colour in _MARKS:
        here = sorted(point[1:] for point in points if point[0] == mark)
        if here:
            places, scores, texts = zip(*here, strict=True)
            style = {"mode": "lines+markers" if mark == "front" else "markers", "marker": {"color": colour, "size": 9}}
            traces.append(go.Scatter(x=places, y=scores, name=name, text=texts, hoverinfo="text", **style))
    axes = {"xaxis": {"title": plain(second.name)}, "yaxis": {"title": plain(first.name)}}
    message = next((line for name, line in summary.quality_lines if name == "front"), "")
    return Chart(title="Pareto front", message=f"{message}.", figure=figure(traces, height=340, **axes))


def splits(summary: Summary) -> Chart | None:
    """Draw the metric on validation, test and shift sets for the best trials and the baseline.

    Test and shift values have their interval. None without a test or shift value.
    """
    from plotly import graph_objects as go

    board = summary.leaderboard
    final_metrics = board.final_metrics
    names = (board.metric.name, *final_metrics)
    rows = [row for row in board.rows if any(name in row.final for name in final_metrics)][:BEST]
    if not rows:
        return None
    labels = [plain(_split(name)) for name in names]
    bars = []
    for place, row in enumerate(rows):
        values = [row.score, *(row.final.get(name) for name in final_metrics)]
        above, below, texts = [], [], []
        for name, value in zip(names, values, strict=True):
            interval = row.intervals.get(name)
            above.append(None if interval is None or value is None else interval.high - value)
            below.append(None if interval is None or value is None else value - interval.low)
            texts.append(plain(f"trial {row.number}, {_split(name)}: {words.with_interval(value, interval)}"))
        # Without caps: a value without an interval would get two at its own height.
        error = {"type": "data", "array": above, "arrayminus": below, "symmetric": False, "thickness": 1.2, "width": 0}
        bars.append(
            go.Bar(
                x=labels,
                y=values,
                name=f"trial {row.number}",
                marker={"color": CYCLE[place]},
                error_y=error if any(above) else None,
                text=texts,
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
            )
        )
    if board.baseline:
        values = [board.baseline.get(name) for name in names]
        texts = [
            plain(f"baseline, {label}: {words.number(value)}") for label, value in zip(labels, values, strict=True)
        ]
        style = {"marker": {"color": MUTED}, "textposition": "none", "hovertemplate": "%{text}<extra></extra>"}
        bars.append(go.Bar(x=labels, y=values, name="baseline", text=texts, **style))
    metric = board.metric.name.rpartition("/")[2].replace("_", " ")
    shifts = any(name.startswith("shift/") for name in final_metrics)
    first, parts = rows[0], [f"{_split(board.metric.name)} {words.number(rows[0].score, 3)}"]
    parts += [f"{_split(n)} {words.number(first.final[n], 3)}" for n in final_metrics if n in first.final]
    return Chart(
        title=f"Validation{', test and shift sets' if shifts else ' and test'}: {metric}",
        message=f"Trial {first.number}: {', '.join(parts)}.",
        figure=figure(bars, height=340, barmode="group", yaxis={"title": plain(metric)}),
        wide=len(names) > 4,
    )


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _split(metric: str) -> str:
    """Return the split or shift set of a metric."""
    split = metric.removeprefix("shift/").rpartition("/")[0]
    return "validation" if split == "val" else split.replace("_", " ")
