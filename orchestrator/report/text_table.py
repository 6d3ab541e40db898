"""The leaderboard for a terminal, as wide as the terminal allows."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from orchestrator.core.sweep import SweepStatus, standing
from orchestrator.core.trial import TrialState
from orchestrator.report import words
from orchestrator.report.leaderboard import Leaderboard, Row

STATE_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAIL: "red",
}


def state_text(state: TrialState, status: SweepStatus = SweepStatus.RUNNING) -> Text:
    """Return a trial's state in a word and in its colour, ``status`` being its sweep's."""
    return Text(standing(state, status), style=STATE_STYLES[state])


def not_shown(names: Iterable[str], where: str) -> Text:
    """Return which columns a screen is too narrow for, and where they are."""
    told = f" only {where}, for want of width: {', '.join(name.replace('_', ' ') for name in names)}"
    return Text(told, style="dim")


def plain_table(**options: object) -> Table:
    """Return a table in the house's style: one line under the head, no frame."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold", **options)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaderboardTable:
    """The leaderboard, the baseline as its last row, and why trials failed. A narrow screen gets fewer columns.

    Attributes:
        limit: show this many trials at most, and say how many are left out.
    """

    board: Leaderboard
    limit: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the widest form that fits: with every final metric, with the test split alone, with neither."""
        board = self.board
        tests = tuple(name for name in board.extra if name.startswith("test/"))
        forms = [
            (board.extra, board.varied),
            (tests, board.varied),
            ((), board.varied),
            ((), board.varied[:3]),
            ((), ()),
        ]
        for extra, varied in forms:
            table = self._table(extra, varied)
            if Measurement.get(console, options.update(max_width=1000), table).maximum <= options.max_width:
                break
        yield table
        left_out = [words.short(name) for name in board.extra if name not in extra]
        left_out += [name for name in board.varied if name not in varied]
        if left_out:
            yield not_shown(left_out, "with --json and on the report's page")
        if board.measured_again:
            yield Text(f" {board.measured_again}", style="dim")
        if board.beaten:
            yield Text(f" {board.beaten}", style="yellow")
        for row in board.rows[: self.limit]:
            if row.state is TrialState.FAIL and row.reason:
                yield Text(f" trial {row.number} failed: {row.reason}", style="red")

    def _table(self, extra: tuple[str, ...], varied: tuple[str, ...]) -> Table:
        board = self.board
        table = plain_table()
        shared = ("#", "trial", "state", _last(board.metric.name), *_val_loss(board), "gap", "samples\nat best")
        for name in (*shared, *(_place(name) for name in extra), *(name.replace("_", "\n") for name in varied)):
            table.add_column(name, justify="left" if name == "state" else "right", vertical="bottom", no_wrap=True)
        shown = board.rows[: self.limit]
        for row in shown:
            cells = [*_cells(row, board), *(words.number(row.final.get(name), 3) for name in extra)]
            cells += [words.param(row.params[name]) if name in row.params else words.MISSING for name in varied]
            table.add_row(*cells, style="bold" if row.rank == 1 else None)
        if len(shown) < len(board.rows):
            more = len(board.rows) - len(shown)
            table.caption = f"and {more} more, on the report's page and with: report --limit {len(board.rows)}"
        if board.baseline is not None:
            table.add_section()
            table.add_row(*_baseline_cells(board, extra), style="italic")
        return table


def _last(metric: str) -> str:
    """Return a metric's name without its split: all of the table but ``test`` and the shift sets is validation."""
    return metric.rpartition("/")[2].replace("_", "\n")


def _place(metric: str) -> str:
    """Return the split or the shift set of a final metric."""
    return metric.removeprefix("shift/").rpartition("/")[0].replace("_", "\n")


def _val_loss(board: Leaderboard) -> tuple[str, ...]:
    return () if board.metric.name == "val/loss" else ("loss",)


def _cells(row: Row, board: Leaderboard) -> list[str | Text]:
    loss = [words.number(row.val_loss, 3)] if _val_loss(board) else []
    measured = [words.number(row.score), *loss, words.signed(row.gap, 3), words.count(row.samples)]
    return [str(row.rank or words.MISSING), str(row.number), state_text(row.state, board.status), *measured]


def _baseline_cells(board: Leaderboard, extra: tuple[str, ...]) -> list[str]:
    values = board.baseline or {}
    loss = [words.number(values["val/loss"], 3) if "val/loss" in values else ""] if _val_loss(board) else []
    finals = [words.number(values[name], 3) if name in values else "" for name in extra]
    return ["", "", "baseline", words.number(values.get(board.metric.name)), *loss, "", "", *finals]
