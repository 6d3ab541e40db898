"""Pictures of a sweep. Each function returns a figure, or None without data for it."""

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from orchestrator.core.metric import Direction
from orchestrator.core.sweep import state_word
from orchestrator.core.trial import TrialRecord, TrialState
from orchestrator.report import words
from orchestrator.report.parallel import parallel_coordinates
from orchestrator.report.style import MUTED, STATE_COLOURS, figure
from orchestrator.report.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

BEST = 5
"""Number of trials with their own colour."""


def learning_curves(summary: Summary) -> "Figure | None":
    """Draw the searched metric, validation loss (solid) and training loss (dashed) over training samples."""
    from matplotlib.collections import LineCollection

    records = {record.number: record for record in summary.records if record.reports}
    if not records:
        return None
    best = [row.number for row in summary.leaderboard.rows if row.rank is not None][:BEST]
    name = summary.leaderboard.metric.name
    fig = figure(10, 4.2)
    left, right = fig.subplots(1, 2)
    others = [record for number, record in records.items() if number not in best]
    for axes, metric in ((left, name), (right, "val/loss")):
        # One collection, because thousands of separate lines take seconds to draw.
        curves = [list(zip(*_points(record, metric), strict=True)) for record in others]
        axes.add_collection(LineCollection(curves, color=MUTED, alpha=0.5, linewidth=0.9))
    for place, number in enumerate(best):
        style = {"color": f"C{place}", "linewidth": 1.8, "marker": ".", "zorder": 3 + BEST - place}
        _curve(left, records[number], name, label=f"trial {number}", **style)
        _curve(right, records[number], "val/loss", **style)
        _curve(right, records[number], "train/loss", linestyle="--", alpha=0.7, **style | {"linewidth": 1.1})
    left.set(title=words.short(name), xlabel="training samples")
    right.set(title="loss: validation —, training - -", xlabel="training samples")
    for axes in (left, right):
        axes.locator_params(axis="x", nbins=6)
        axes.xaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    if best:
        left.legend(title=f"best {len(best)} of {len(records)}", loc="best", fontsize="small")
    return fig


def _curve(axes: "Axes", record: TrialRecord, metric: str, **style: object) -> None:
    axes.plot(*_points(record, metric), **style)  # type: ignore[arg-type]


def _points(record: TrialRecord, metric: str) -> tuple[list[int], list[float]]:
    """Return a trial's report points and its values of ``metric`` there."""
    samples = [report.nominal_samples for report in record.reports]
    return samples, [report.metrics.get(metric, math.nan) for report in record.reports]


def history(summary: Summary) -> "Figure | None":
    """Draw the best value of each trial, the best value so far and the baseline, over trial numbers."""
    rows = sorted((row for row in summary.leaderboard.rows if row.score is not None), key=lambda row: row.number)
    if not rows:
        return None
    metric = summary.leaderboard.metric
    fig = figure(10, 3.6)
    axes = fig.subplots()
    for state in TrialState:
        here = [row for row in rows if row.state is state]
        if here:
            numbers, values = [row.number for row in here], [row.score or 0.0 for row in here]
            axes.scatter(
                numbers,
                values,
                s=36,
                color=STATE_COLOURS[state],
                label=state_word(state, summary.sweep.status),
                zorder=3,
            )
    scores = [row.score or 0.0 for row in rows]
    pick = min if metric.direction is Direction.MINIMIZE else max
    so_far = [*itertools.accumulate(scores, pick)]
    places = [*(row.number for row in rows), max(record.number for record in summary.records)]
    axes.step(places, [*so_far, so_far[-1]], where="post", color="C0", linewidth=1.6, label="best so far")
    baseline = (summary.leaderboard.baseline or {}).get(metric.name)
    if baseline is not None:
        axes.axhline(baseline, color=MUTED, linestyle="--", linewidth=1.2, label="TF-IDF baseline")
    axes.set(title=f"best {words.short(metric.name)} of each trial", xlabel="trial")
    axes.locator_params(axis="x", integer=True)
    fig.legend(loc="outside right upper", fontsize="small")
    return fig


def importances(summary: Summary) -> "Figure | None":
    """Draw the importance of each parameter."""
    values = sorted(summary.importances.values.items(), key=lambda item: item[1])
    if not values:
        return None
    fig = figure(10, 1.2 + 0.34 * len(values))
    axes = fig.subplots()
    bars = axes.barh([name.replace("_", " ") for name, _ in values], [value for _, value in values], color="C0")
    axes.bar_label(bars, fmt="%.2f", padding=4)
    axes.set(title="parameter importance", xlabel=summary.importances.note or "fraction of the variance explained")
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.08)
    return fig


def shift(summary: Summary) -> "Figure | None":
    """Draw the metric on validation, test and shift sets for the best trials and the baseline."""
    import pandas as pd

    board = summary.leaderboard
    names = (board.metric.name, *board.final_metrics)
    rows = [row for row in board.rows if any(name.startswith("shift/") for name in row.final)][:BEST]
    if not rows:
        return None
    series = {
        f"trial {row.number}": [{board.metric.name: row.score, **row.final}.get(n) for n in names] for row in rows
    }
    if board.baseline:
        series["baseline"] = [board.baseline.get(name) for name in names]
    frame = pd.DataFrame(series, index=[_split(name) for name in names], dtype=float)
    fig = figure(10, 4)
    axes = fig.subplots()
    colours = {name: MUTED if name == "baseline" else f"C{place}" for place, name in enumerate(series)}
    frame.plot.bar(ax=axes, rot=0, width=0.8, color=colours, legend=False)  # type: ignore[arg-type]
    for bars in axes.containers:
        axes.bar_label(cast("BarContainer", bars), fmt=_bare, fontsize=7, padding=2)
    axes.set(title=f"{board.metric.name.rpartition('/')[2].replace('_', ' ')} on validation, test and shift sets")
    axes.grid(visible=False, axis="x")
    fig.legend(loc="outside right upper", fontsize="small")
    return fig


def _bare(value: float) -> str:
    """Return a bar's value without its leading zero, such as ``.84``; empty for zero (pandas' NaN)."""
    return f"{value:.2f}".removeprefix("0") if value else ""


def _split(metric: str) -> str:
    """Return the split or shift set of a metric."""
    split = metric.removeprefix("shift/").rpartition("/")[0]
    return "validation" if split == "val" else split.replace("_", " ")


PICTURES: dict[str, Callable[[Summary], "Figure | None"]] = {
    "learning_curves": learning_curves,
    "history": history,
    "parallel_coordinates": parallel_coordinates,
    "importances": importances,
    "shift": shift,
}
"""All pictures by file name."""
