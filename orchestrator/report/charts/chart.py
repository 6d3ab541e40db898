"""A chart of the report page, and the style shared by all charts."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.trials.trial import TrialState

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CYCLE = ("#0072B2", "#C88000", "#009E73", "#C0679A", "#D55E00", "#3A9BD6")
"""Colours of Okabe and Ito, some darkened for white paper: distinct for colour-blind people in both themes."""
MUTED = "#8a8f98"
STATE_COLOURS = {
    TrialState.RUNNING: CYCLE[5],
    TrialState.COMPLETE: CYCLE[2],
    TrialState.PRUNED: CYCLE[1],
    TrialState.FAIL: CYCLE[4],
}
STATE_SYMBOLS = {
    TrialState.RUNNING: "circle-open",
    TrialState.COMPLETE: "circle",
    TrialState.PRUNED: "triangle-down",
    TrialState.FAIL: "x",
}
_LONGEST_LABEL = 24
BEST = 5
"""Number of trials with their own colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        title: heading above the chart.
        message: the main message of the chart in words, shown below the heading and read by screen readers.
        figure: traces and layout, without the colours of the page.
        wide: whether the chart needs the whole width of the page. On a phone it scrolls in its frame.
    """

    title: str
    message: str
    figure: "Figure"
    wide: bool = False


def plain(text: str) -> str:
    """Return ``text`` for a Plotly label, which would read ``<`` and ``&`` as markup."""
    return html.escape(text, quote=False)


def shorten(text: str) -> str:
    """Return ``text`` with at most ``_LONGEST_LABEL`` characters."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def figure(traces: Sequence[object], *, height: int = 360, **layout: object) -> "Figure":
    """Return a figure of these traces. ``height`` is in pixels; the width follows the page."""
    from plotly import graph_objects as go

    return go.Figure(
        data=[*traces], layout={"template": go.layout.Template(), "height": height, "autosize": True, **layout}
    )


def theme(*, dark: bool) -> Mapping[str, object]:
    """Return the Plotly template of one colour scheme as plain JSON. The page's own background shows through."""
    ink, paper, line = ("#d8d8d8", "#24272d", "#3a3d44") if dark else ("#222222", "#ffffff", "#dddddd")
    axis = {"gridcolor": line, "linecolor": line, "zerolinecolor": line, "automargin": True, "ticks": "outside"}
    axis |= {"tickcolor": line, "title": {"standoff": 8}}
    label = {"color": ink, "size": 12}
    return {
        "data": {
            "bar": [{"error_y": {"color": ink}}],
            "parcoords": [{"labelfont": label, "tickfont": label, "rangefont": {"color": "rgba(0,0,0,0)", "size": 1}}],
        },
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(CYCLE),
            "font": {"color": ink, "family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 12},
            "hoverlabel": {"bgcolor": paper, "bordercolor": line, "font": {"color": ink}, "align": "left"},
            "margin": {"l": 8, "r": 12, "t": 16, "b": 8},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "bgcolor": "rgba(0,0,0,0)"},
            "xaxis": axis,
            "yaxis": axis,
        },
    }


def state_points(state: TrialState, name: str, points: Sequence[tuple[float, float, str]]) -> object:
    """Return the trace of the trials in one state.

    Args:
        state: decides colour and symbol.
        name: the state's word, for the legend.
        points: place on both axes, and the text of each trial.
    """
    from plotly import graph_objects as go

    return go.Scatter(
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        mode="markers",
        marker={"color": STATE_COLOURS[state], "symbol": STATE_SYMBOLS[state], "size": 8},
        name=name,
        text=[text for _, _, text in points],
        hovertemplate="%{text}<extra></extra>",
    )
