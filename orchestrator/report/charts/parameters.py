"""Charts of the parameters: parallel coordinates and importances."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.core.metric import Direction
from orchestrator.core.space import ParamValue, is_number
from orchestrator.report import words
from orchestrator.report.charts.chart import CYCLE, MUTED, Chart, figure, plain, shorten
from orchestrator.report.leaderboard import Row
from orchestrator.report.summary import Summary

SCALE = (MUTED, "#E69F00", "#D55E00")
"""Colours of the worst, median and best score, distinct on light and dark backgrounds."""
_LABEL_DISTANCE = 0.06
"""Least distance of two labels on one axis, as a fraction of its height."""
_MISSING = -0.08
"""Height of trials without the parameter."""
_MOST_LABELS = 6
_FEW = 3


def parallel_coordinates(summary: Summary) -> Chart | None:
    """Draw the varied parameters and the score of each trial; None with fewer than two scored trials.

    The worst lines are grey, the best red. Each axis has its own scale: linear for numbers, logarithmic if they span
    more than a factor of 10, and even steps for choices.
    """
    from plotly import graph_objects as go

    board = summary.leaderboard
    rows = [row for row in board.rows if row.score is not None and math.isfinite(row.score)]
    if len(rows) < 2 or not board.varied:
        return None
    values_of: dict[str, Sequence[ParamValue]] = {name: [row.params.get(name) for row in rows] for name in board.varied}
    score = f"score: {words.short(board.metric.name)}"
    values_of[score] = [row.score for row in rows]
    heights = positions(values_of[score])
    lines = go.Parcoords(
        dimensions=[_axis(name, values) for name, values in values_of.items()],
        line={
            "color": [1 - h for h in heights] if board.metric.direction is Direction.MINIMIZE else heights,
            "colorscale": [[place / 2, colour] for place, colour in enumerate(SCALE)],
            "cmin": 0,
            "cmax": 1,
        },
        labelangle=-20 if len(values_of) > 6 else 0,
        labelside="top",
    )
    margin = {"l": 60, "r": 60, "t": 70, "b": 24}
    return Chart(
        title="Parameters and score",
        message=f"{_ranges(rows[:_FEW], board.varied)} Drag along an axis to select trials.",
        figure=figure([lines], height=400, margin=margin),
        wide=True,
    )


def _axis(name: str, values: Sequence[ParamValue]) -> dict[str, object]:
    labels = axis_labels(values)
    if any(value is None for value in values):
        labels = [(_MISSING, "not set"), *labels]
    return {
        "label": plain(name.replace("_", " ")),
        "values": positions(values),
        "range": [_MISSING, 1.0],
        "tickvals": [height for height, _ in labels],
        "ticktext": [shorten(text) for _, text in labels],  # Plotly reads no markup in these texts
    }


def _ranges(best: Sequence[Row], names: Sequence[str]) -> str:
    """Return the values of the best trials in words."""
    parts = []
    for name in names:
        values = [row.params[name] for row in best if row.params.get(name) is not None]
        numbers = [value for value in values if is_number(value)]
        if numbers and len(numbers) == len(values):
            low, high = words.param(min(numbers)), words.param(max(numbers))
            parts.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
        elif values:
            parts.append(f"{name} {' or '.join(dict.fromkeys(shorten(words.param(value)) for value in values))}")
    return f"The best {len(best)} trials have {', '.join(parts)}."


def positions(values: Sequence[ParamValue]) -> list[float]:
    """Return the height of each value on its axis, in [0, 1]. Missing values (inactive parameters) are below 0."""
    scale = _NumberScale.of(values)
    if scale is not None:
        return [scale.height(value) if is_number(value) else _MISSING for value in values]
    distinct = sorted({words.param(value) for value in values if value is not None})
    steps = max(1, len(distinct) - 1)
    return [_MISSING if value is None else distinct.index(words.param(value)) / steps for value in values]


def axis_labels(values: Sequence[ParamValue]) -> list[tuple[float, str]]:
    """Return heights and texts of an axis' labels: all values if there are at most six, else five even heights.

    A label too close to another one is left out; labels at the ends stay.
    """
    known = [value for value in values if value is not None]
    scale = _NumberScale.of(known)
    texts = dict(
        sorted({height: words.param(value) for height, value in zip(positions(known), known, strict=True)}.items())
    )
    if scale is not None and len(texts) > _MOST_LABELS:
        texts = {place / 4: words.param(float(f"{scale.value(place / 4):.2g}")) for place in range(5)}
    ends = list(dict.fromkeys((min(texts), max(texts)))) if texts else []
    shown = list(ends)
    for height in texts if len(texts) <= _MOST_LABELS else ():
        if all(abs(height - other) >= _LABEL_DISTANCE for other in shown):
            shown.append(height)
    return [(height, texts[height]) for height in sorted(shown)]


@dataclass(frozen=True, slots=True)
class _NumberScale:
    """The scale of an axis of numbers: linear, or logarithmic if they span more than a factor of 10."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[ParamValue]) -> "_NumberScale | None":
        """Return the scale of these values; None if one is not a number, or none is known."""
        numbers = [value for value in values if is_number(value)]
        if not numbers or len(numbers) < sum(value is not None for value in values):
            return None
        return cls(float(min(numbers)), float(max(numbers)))

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high / self.low > 10

    def height(self, value: float) -> float:
        if self.high == self.low:
            return 0.0
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, height: float) -> float:
        if self.log:
            return float(self.low * (self.high / self.low) ** height)
        return self.low + (self.high - self.low) * height


def importances(summary: Summary) -> Chart | None:
    """Draw the importance of each parameter."""
    from plotly import graph_objects as go

    values = sorted(summary.importances.values.items(), key=lambda item: item[1])
    if not values:
        return None
    names, shares = [plain(name.replace("_", " ")) for name, _ in values], [share for _, share in values]
    bars = go.Bar(
        x=shares,
        y=names,
        orientation="h",
        marker={"color": CYCLE[0]},
        text=[f"{name}: {words.number(share, 2)}" for name, share in zip(names, shares, strict=True)],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
    )
    axes = {"xaxis": {"title": "fraction of the variance explained", "rangemode": "tozero"}}
    first, share = values[-1]
    note = f" ({summary.importances.note})" if summary.importances.note else ""
    return Chart(
        title="Parameter importances",
        message=f"{first} explains {words.percent(share)} of the variance of the score{note}.",
        figure=figure([bars], height=120 + 34 * len(values), **axes),
    )
