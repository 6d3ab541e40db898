"""Charts of the learning curves of all trials."""

from collections.abc import Sequence

from orchestrator.core.sweeps.sweep import state_word
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.report import words
from orchestrator.report.charts.chart import BEST, CYCLE, MUTED, Chart, figure, plain
from orchestrator.report.summary import Summary

_LOSS = "val/loss"
_MOST_MARKED = 300
"""Most trials whose points are marked in a joined trace; a browser draws thousands of marks slowly."""


def learning_curves(summary: Summary) -> Chart | None:
    """Draw the searched metric of all trials over their training samples."""
    metric = summary.leaderboard.metric.name
    traces = _curves(summary, metric)
    if not traces:
        return None
    title = f"Learning curves: {words.short(metric)}"
    return Chart(title=title, message=_message(summary, metric), figure=_figure(traces, metric))


def loss_curves(summary: Summary) -> Chart | None:
    """Draw validation loss (solid) of all trials, and training loss (dashed) of the best."""
    traces = _curves(summary, _LOSS)
    dashed = _best_curves(summary, "train/loss", dashed=True)
    if not traces or not (dashed or summary.leaderboard.metric.name != _LOSS):
        return None
    message = _message(summary, _LOSS)
    if dashed:
        message += " Dashed: training loss of the best trials."
    return Chart(title="Learning curves: loss", message=message, figure=_figure([*traces, *dashed], _LOSS))


def _figure(traces: Sequence[object], metric: str) -> object:
    return figure(traces, xaxis={"title": "training samples"}, yaxis={"title": plain(words.short(metric))})


def _message(summary: Summary, metric: str) -> str:
    reported = [record for record in of_the_search(summary.records) if record.reports]
    pruned = {record.number for record in reported if record.state is TrialState.PRUNED}
    faint = " (faint)" if pruned - {*_best(summary)} else ""
    message = (
        f"{len(reported)} trials, {f'{len(pruned)} of them stopped early{faint}' if pruned else 'none stopped early'}."
    )
    best = summary.leaderboard.best
    if best is None:
        return message
    record = next(record for record in summary.records if record.number == best.number)
    values = [report.metrics[metric] for report in record.reports if metric in report.metrics]
    if len(values) < 2:
        return message
    course = f"{words.short(metric)} from {words.number(values[0])} to {words.number(values[-1])}"
    return f"{message} Trial {best.number}, the best: {course}."


def _curves(summary: Summary, metric: str) -> list[object]:
    """Return the traces of a metric: trials stopped early, other trials, the best ones. The best are drawn on top."""
    best = _best(summary)
    searched = of_the_search(summary.records)
    reported = [record for record in searched if any(metric in report.metrics for report in record.reports)]
    others = [record for record in reported if record.number not in best]
    stopped = {TrialState.PRUNED, TrialState.FAIL}
    faint = [record for record in others if record.state in stopped]
    rest = [record for record in others if record.state not in stopped]
    traces = [
        _joined(summary, records, metric, name, opacity)
        for name, records, opacity in (("stopped early or failed", faint, 0.35), ("other trials", rest, 0.75))
        if records
    ]
    return [*traces, *_best_curves(summary, metric)]


def _best(summary: Summary) -> list[int]:
    return [row.number for row in summary.leaderboard.rows if row.rank is not None][:BEST]


def _best_curves(summary: Summary, metric: str, *, dashed: bool = False) -> list[object]:
    from plotly import graph_objects as go

    by_number = {record.number: record for record in summary.records}
    traces: list[object] = []
    for place, number in enumerate(_best(summary)):
        samples, values, texts = _points(summary, by_number[number], metric)
        if not any(value is not None for value in values):
            continue
        line = {"color": CYCLE[place], "width": 1.2 if dashed else 2.2, "dash": "dash" if dashed else "solid"}
        traces.append(
            go.Scatter(
                x=samples,
                y=values,
                mode="lines" if dashed else "lines+markers",
                line=line,
                marker={"size": 5},
                name=f"trial {number}",
                legendgroup=str(number),
                showlegend=not dashed,
                text=texts,
                hovertemplate="%{text}<extra></extra>",
            )
        )
    return traces


def _joined(summary: Summary, records: Sequence[TrialRecord], metric: str, name: str, opacity: float) -> object:
    """Return one trace with the curves of many trials, with gaps between them: thousands of traces are slow."""
    from plotly import graph_objects as go

    x: list[int | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for record in records:
        samples, values, lines = _points(summary, record, metric)
        x += [*samples, None]
        y += [*values, None]
        texts += [*lines, ""]
    mode = "lines+markers" if len(records) <= _MOST_MARKED else "lines"
    style = {"mode": mode, "line": {"color": MUTED, "width": 1}, "marker": {"size": 3, "color": MUTED}}
    return go.Scatter(x=x, y=y, text=texts, name=name, opacity=opacity, hovertemplate="%{text}<extra></extra>", **style)


def _points(summary: Summary, record: TrialRecord, metric: str) -> tuple[list[int], list[float | None], list[str]]:
    """Return a trial's report points, its values of ``metric`` there, and the text of each point."""
    state = state_word(record.state, summary.sweep.status)
    samples = [report.nominal_samples for report in record.reports]
    values = [report.metrics.get(metric) for report in record.reports]
    texts = [
        plain(f"trial {record.number} ({state}): {words.short(metric)} {words.number(value)} at {point:,} samples")
        for point, value in zip(samples, values, strict=True)
    ]
    return samples, values, texts
