"""The files of a report: HTML page, and the leaderboard as CSV and JSON."""

import csv
import io
import json
import logging
from dataclasses import replace
from pathlib import Path

from orchestrator.core.errors import in_short
from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.ledger.home import sweep_dir
from orchestrator.report.charts import CHARTS
from orchestrator.report.charts.chart import Chart
from orchestrator.report.html import render_page
from orchestrator.report.leaderboard import Leaderboard
from orchestrator.report.summary import Summary, as_json, jsonable

PAGE = "index.html"
REPORT_DIR = "report"
"""Name of the report's folder in the folder of a sweep."""
logger = logging.getLogger(__name__)


def report_page(sweep: SweepRecord) -> Path:
    """Return the path of the page of a sweep's report."""
    return sweep_dir(sweep) / REPORT_DIR / PAGE


def write_report(folder: Path, summary: Summary, notes: dict[str, str] | None = None) -> list[Path]:
    """Write ``index.html``, ``leaderboard.csv`` and ``.json``, ``report.json``; return their paths.

    Files of an earlier report are overwritten, and the pictures of earlier versions deleted.

    Args:
        folder: receives the files.
        summary: content of the report.
        notes: receives a sentence for each failed chart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    charts = draw(summary, missing)
    summary = replace(summary, notes=tuple(dict.fromkeys((*summary.notes, *missing.values()))))
    if notes is not None:
        notes |= missing
    contents: dict[str, bytes] = {PAGE: render_page(summary, charts).encode()}
    contents["leaderboard.csv"] = as_csv(summary.leaderboard).encode()
    contents["leaderboard.json"] = as_table_json(summary.leaderboard).encode()
    contents["report.json"] = json.dumps(as_json(summary), indent=2, ensure_ascii=False).encode()
    for picture in folder.glob("*.png"):
        picture.unlink()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in sorted(contents, key=lambda name: (name != PAGE, name))]


def draw(summary: Summary, notes: dict[str, str] | None = None) -> dict[str, Chart]:
    """Return the charts by name, without empty ones. ``notes`` receives a sentence for each failed chart."""
    charts: dict[str, Chart] = {}
    for name, make in CHARTS.items():
        try:
            chart = make(summary)
        except Exception as error:  # any error while drawing: the report is complete without a chart
            logger.exception("drawing the chart %s failed", name)
            if notes is not None:
                notes[f"chart {name}"] = f"no chart {name}: {in_short(error)}"
            continue
        if chart is not None:
            charts[name] = chart
    return charts


def as_csv(board: Leaderboard) -> str:
    """Return the leaderboard as CSV with full precision, the best trial first. Missing values are empty."""
    columns, rows = table(board)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((columns, *rows))
    return text.getvalue()


def as_table_json(board: Leaderboard) -> str:
    """Return the same table as JSON, ``{"columns": [...], "data": [[...], ...]}``. Missing values are null."""
    columns, rows = table(board)
    return json.dumps(jsonable({"columns": columns, "data": rows}), ensure_ascii=False, allow_nan=False)


def table(board: Leaderboard) -> tuple[list[str], list[list[object]]]:
    """Return the column names and rows of the leaderboard, with all values, the best trial first."""
    finals = sorted({name for row in board.rows for name in row.final})
    names = list(dict.fromkeys(name for row in board.rows for name in row.params))
    measured = dict.fromkeys((board.metric.name, "val/loss", "gap/loss"))  # the metric may be one of the others
    # Named "place", because "rank" is a parameter of adapters.
    further = sorted({name for row in board.rows for name in row.also} - {*measured})
    marked = ["mark"] if isinstance(board.metric, Goal) else []
    columns = ["place", "trial", "state", *marked, *measured, *further, "samples_at_best", "samples"]
    columns += [*finals, *names, "reason"]
    rows: list[list[object]] = []
    for row in board.rows:
        values = {board.metric.name: row.score, "val/loss": row.val_loss, "gap/loss": row.gap}
        cells: list[object] = [row.rank, row.number, row.state.value, *([row.mark] if marked else [])]
        cells += [*(values[name] for name in measured), *map(row.also.get, further)]
        cells += [row.samples, row.trained, *map(row.final.get, finals), *map(row.params.get, names), row.reason]
        rows.append(cells)
    return columns, rows
