"""The report as one HTML page. Style, scripts and charts are embedded, so that it works offline."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.core.sweeps.sweep import state_word
from orchestrator.core.system.secrets import redact
from orchestrator.core.trials.trial import TrialState
from orchestrator.report import words
from orchestrator.report.charts.chart import Chart, theme
from orchestrator.report.data_text import data_lines
from orchestrator.report.explanation import explain
from orchestrator.report.leaderboard import Leaderboard, Row
from orchestrator.report.summary import Summary, jsonable, next_commands
from orchestrator.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup


_CHART_OF = {"worst slice": "slices", "calibration": "calibration", "classes": "class_scores", "targets": "targets"}
"""Chart with the same sentence, by the name of a quality line."""


def render_page(summary: Summary, charts: Mapping[str, Chart]) -> str:
    """Return the page. All values are escaped, because names and reasons may come from a user's file.

    The same ledger gives the same page: it holds no time of its own.

    Args:
        summary: content of the page.
        charts: charts by name; a name is also the id of an element.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("orchestrator", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    board = summary.leaderboard
    final_metrics = board.final_metrics
    return environment.get_template("page.html.j2").render(
        sweep=summary.sweep,
        summary=summary,
        board=board,
        columns=columns(board),
        rows=[(row, cells(row, board, final_metrics)) for row in board.rows],
        baseline=baseline_cells(board),
        charts=charts,
        quality_lines=[pair for pair in summary.quality_lines if _CHART_OF.get(pair[0]) not in charts],
        chart_data=_chart_data(charts),
        plotly=get_plotlyjs() if charts else "",
        time_parts=_time_parts(summary),
        data=data_lines(summary.data, summary.data_summary, classes=False),
        classes=_class_rows(summary),
        findings=[(topic, [*group]) for topic, group in itertools.groupby(explain(summary), lambda one: one.topic)],
        commands=next_commands(
            summary.sweep.reference,  # the page stays when a newer generation starts
            None if board.best is None else board.best.number,
            pair_column=summary.pair_column,
            below_baseline=board.below_baseline,
            of_function="function" in summary.sweep.fingerprint,
        ),
        words=words,
        redact=redact,
        state_word=state_word,
        newest=_newest(summary),
        version=__version__,
        failed=[row for row in board.rows if row.state is TrialState.FAIL and row.reason],
    )


def columns(board: Leaderboard) -> list[str]:
    """Return the column heads of the leaderboard."""
    loss = [] if board.metric.name == "val/loss" else ["val loss"]
    measured = [words.short(board.metric.name), *loss, "overfit gap", "samples at best"]
    return [
        "#",
        "trial",
        "state",
        *measured,
        *map(words.short, board.final_metrics),
        *(n.replace("_", " ") for n in board.varied),
    ]


def cells(row: Row, board: Leaderboard, final_metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Return the cells of a row as pairs of shown text and sort key."""
    loss = [] if board.metric.name == "val/loss" else [(words.number(row.val_loss), row.val_loss)]
    measured: list[tuple[str, object]] = [
        (str(row.rank or words.MISSING), row.rank),
        (str(row.number), row.number),
        (state_word(row.state, board.status),) * 2,
        (words.number(row.score), row.score),
        *loss,
        (words.signed(row.gap), row.gap),
        (words.count(row.samples), row.samples),
    ]
    measured += [
        (words.with_interval(row.final.get(name), row.intervals.get(name)), row.final.get(name))
        for name in final_metrics
    ]
    for name in board.varied:
        measured.append((words.param_cell(row.params, name), row.params.get(name)))
    return [(shown, "" if key is None else str(key)) for shown, key in measured]


def baseline_cells(board: Leaderboard) -> list[str] | None:
    """Return the cells of the baseline's row, or None without a baseline."""
    if board.baseline is None:
        return None
    names: list[str | None] = [
        board.metric.name,
        *([] if board.metric.name == "val/loss" else ["val/loss"]),
        None,
        None,
        *board.final_metrics,
    ]
    values = [words.number(board.baseline[name]) if name and name in board.baseline else "" for name in names]
    return ["", "", "baseline", *values, *("" for _ in board.varied)]


def _class_rows(summary: Summary) -> list[tuple[str, list[int]]]:
    """Return pairs of a class and its number of rows in each split."""
    counts = summary.data_summary.label_counts
    names = dict.fromkeys(name for split in counts.values() for name in split)
    return [(name, [split.get(name, 0) for split in counts.values()]) for name in names]


def _time_parts(summary: Summary) -> list[tuple[str, str, float]]:
    time_use = summary.time
    if time_use is None:
        return []
    return [(name, words.duration(seconds), 100 * time_use.share(seconds)) for name, seconds in time_use.parts]


def _newest(summary: Summary) -> str | None:
    """Return the time of the newest report or end of a trial; None without one."""
    ends = [report.ended_at for record in summary.records for report in record.reports]
    ends += [record.ended_at for record in summary.records if record.ended_at is not None]
    return words.moment(max(ends)) if ends else None


def _chart_data(charts: Mapping[str, Chart]) -> "Markup":
    """Return the charts and both themes as JSON without ``<``, so that no text in it ends its ``script`` element."""
    from jinja2.utils import htmlsafe_json_dumps

    drawn = [{"name": name, **chart.figure.to_plotly_json()} for name, chart in charts.items()]
    themes = {"light": theme(dark=False), "dark": theme(dark=True)}
    return htmlsafe_json_dumps(jsonable({"charts": drawn, "themes": themes}), separators=(",", ":"))
