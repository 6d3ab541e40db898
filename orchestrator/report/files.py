"""Write a report's files: the page, the pictures, and the leaderboard for other programs."""

import csv
import io
import json
from pathlib import Path

from orchestrator.report.html import Picture, render_page
from orchestrator.report.leaderboard import Leaderboard
from orchestrator.report.summary import Summary, as_json, jsonable

PAGE = "index.html"


def write_report(folder: Path, summary: Summary) -> list[Path]:
    """Write ``index.html``, a PNG per picture, ``leaderboard.csv`` and ``.json``, ``report.json``; return their paths.

    Files of an earlier report are overwritten; a picture that there is nothing to show in any more is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = draw(summary)
    contents: dict[str, bytes] = {f"{name}.png": picture.light for name, picture in pictures.items()}
    contents[PAGE] = render_page(summary, pictures).encode()
    contents["leaderboard.csv"] = as_csv(summary.leaderboard).encode()
    contents["leaderboard.json"] = as_table_json(summary.leaderboard).encode()
    contents["report.json"] = json.dumps(as_json(summary), indent=2, ensure_ascii=False).encode()
    for stale in {path.name for path in folder.glob("*.png")} - set(contents):
        (folder / stale).unlink()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in sorted(contents, key=lambda name: (name != PAGE, name))]


def draw(summary: Summary) -> dict[str, Picture]:
    """Return every picture that there is something to show in, by name."""
    from orchestrator.report.plots import PICTURES
    from orchestrator.report.style import theme

    pictures = {}
    for name, plot in PICTURES.items():
        themed = []
        for dark in (False, True):
            with theme(dark=dark):
                figure, buffer = plot(summary), io.BytesIO()
                if figure is None:
                    break
                figure.savefig(buffer, format="png")
                themed.append(buffer.getvalue())
        else:
            pictures[name] = Picture(light=themed[0], dark=themed[1])
    return pictures


def as_csv(board: Leaderboard) -> str:
    """Return the leaderboard as CSV with full precision, the best trial first; empty cells where nothing is known."""
    columns, rows = table(board)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((columns, *rows))
    return text.getvalue()


def as_table_json(board: Leaderboard) -> str:
    """Return the same table as JSON, ``{"columns": [...], "data": [[...], ...]}``; null where nothing is known."""
    columns, rows = table(board)
    return json.dumps(jsonable({"columns": columns, "data": rows}), ensure_ascii=False, allow_nan=False)


def table(board: Leaderboard) -> tuple[list[str], list[list[object]]]:
    """Return the leaderboard's columns and rows with all that is known of a trial, the best trial first."""
    finals = sorted({name for row in board.rows for name in row.final})
    names = list(dict.fromkeys(name for row in board.rows for name in row.params))
    measured = dict.fromkeys((board.metric.name, "val/loss", "gap/loss"))  # the searched one may be among the others
    # The place has that name because ``rank`` is a setting of adapters.
    columns = ["place", "trial", "state", *measured, "samples_at_best", "samples", *finals, *names, "reason"]
    rows: list[list[object]] = []
    for row in board.rows:
        values = {board.metric.name: row.score, "val/loss": row.val_loss, "gap/loss": row.gap}
        cells: list[object] = [row.rank, row.number, row.state.value, *(values[name] for name in measured)]
        cells += [row.samples, row.trained, *map(row.final.get, finals), *map(row.params.get, names), row.reason]
        rows.append(cells)
    return columns, rows
