"""Parallel coordinates: one line per trial through its parameters to its score."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.core.metric import Direction
from orchestrator.core.space import ParamValue
from orchestrator.report import words
from orchestrator.report.style import MUTED, figure
from orchestrator.report.summary import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE = (MUTED, "#E69F00", "#D55E00")
"""Colours of the worst, median and best score, distinct on light and dark backgrounds."""

_LABEL_DISTANCE = 0.06
"""Least distance of two labels on one axis, as a fraction of its height."""


def parallel_coordinates(summary: Summary) -> "Figure | None":
    """Draw the varied parameters and the score of each trial; None with fewer than two scored trials.

    The worst lines are grey, the best red. Each axis has its own scale: linear for numbers, logarithmic if they span
    more than a factor of 20, and even steps for choices.
    """
    import pandas as pd
    from matplotlib import rcParams
    from matplotlib.colors import LinearSegmentedColormap

    board = summary.leaderboard
    rows = [row for row in board.rows if row.score is not None][::-1]  # the best trials are drawn last, on top
    if len(rows) < 2 or not board.varied:
        return None
    values_of: dict[str, Sequence[ParamValue]] = {name: [row.params.get(name) for row in rows] for name in board.varied}
    values_of[board.metric.name] = [row.score for row in rows]
    columns = {name: positions(values) for name, values in values_of.items()}
    score = columns[board.metric.name]
    good = [1 - s if board.metric.direction is Direction.MINIMIZE else s for s in score]
    frame = pd.DataFrame(columns).assign(trial=[row.number for row in rows])
    fig = figure(10, 4.2)
    axes = fig.subplots()
    colour = LinearSegmentedColormap.from_list("score", SCALE)
    pd.plotting.parallel_coordinates(
        frame,
        "trial",
        ax=axes,
        color=[colour(g) for g in good],
        axvlines_kwds={"color": rcParams["text.color"], "linewidth": 0.8},
        linewidth=1.6,
        alpha=0.9,
    )
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()
    axes.set(title=f"parameters and {words.short(board.metric.name)}", ylim=(-0.08, 1.08), yticks=[])
    axes.set_xticks(range(len(columns)), [name.replace("_", "\n").replace("/", "\n") for name in columns])
    axes.set_xlim(-0.2, len(columns) - 0.55)
    axes.grid(visible=False)
    for place, values in enumerate(values_of.values()):
        for height, text in axis_labels(values):
            background = {"facecolor": rcParams["axes.facecolor"], "edgecolor": "none", "pad": 1.0}
            axes.text(place + 0.03, height, text, fontsize="small", va="center", zorder=10, bbox=background)
    return fig


def positions(values: Sequence[ParamValue]) -> list[float]:
    """Return the height of each value on its axis, in [0, 1]. Missing values (inactive parameters) are below 0."""
    if _numeric(values):
        numbers = [float(v) for v in values if v is not None]
        low, high = min(numbers), max(numbers)
        scale = math.log if low > 0 and high / low > 20 else float
        span = (scale(high) - scale(low)) or 1.0
        return [-0.06 if v is None else (scale(float(v)) - scale(low)) / span for v in values]
    distinct = sorted({words.param(v) for v in values if v is not None})
    return [-0.06 if v is None else distinct.index(words.param(v)) / max(1, len(distinct) - 1) for v in values]


def axis_labels(values: Sequence[ParamValue]) -> list[tuple[float, str]]:
    """Return heights and texts of an axis' labels: all values if there are at most six, else both ends.

    A label too close to another one is left out; labels at the ends stay.
    """
    known = [v for v in values if v is not None]
    texts = dict(
        sorted({height: words.param(value) for height, value in zip(positions(known), known, strict=True)}.items())
    )
    ends = list(dict.fromkeys((min(texts), max(texts)))) if texts else []
    shown = list(ends)
    for height in texts if len(texts) <= 6 else ():
        if all(abs(height - other) >= _LABEL_DISTANCE for other in shown):
            shown.append(height)
    return [(height, texts[height]) for height in sorted(shown)]


def _numeric(values: Sequence[ParamValue]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None)
