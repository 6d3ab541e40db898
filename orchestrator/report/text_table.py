"""The leaderboard for a terminal of any width."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.sweeps.sweep import SweepStatus, state_word
from orchestrator.core.trials.trial import TrialState
from orchestrator.report import words
from orchestrator.report.fitting_table import Column, FittingTable
from orchestrator.report.leaderboard import Leaderboard, Row

STATE_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAIL: "red",
}


def state_text(state: TrialState, status: SweepStatus = SweepStatus.RUNNING) -> Text:
    """Return a trial's state in its colour. ``status`` is the status of its sweep."""
    return Text(state_word(state, status), style=STATE_STYLES[state])


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaderboardTable:
    """The leaderboard with the baseline as its last row, followed by warnings and reasons of failed trials.

    Attributes:
        limit: maximum number of trials to show.
    """

    board: Leaderboard
    limit: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table and the notes. On a narrow terminal, final metrics and parameters are hidden first."""
        board = self.board
        yield self._table()
        if board.remeasured_note:
            yield Text(f" {board.remeasured_note}", style="dim")
        if board.baseline_warning:
            yield Text(f" {board.baseline_warning}", style="yellow")
        for row in board.rows[: self.limit]:
            if row.state is TrialState.FAIL and row.reason:
                yield Text(f" trial {row.number} failed: {row.reason}", style="red")

    def _table(self) -> FittingTable:
        board = self.board
        shown = board.rows[: self.limit]
        more = len(board.rows) - len(shown)
        baseline = board.baseline
        settings = parameter_columns(
            board.varied, [row.params for row in shown], empty_rows=0 if baseline is None else 1
        )
        columns = [*_measured_columns(board, shown), *_final_columns(board, shown), *settings]
        return FittingTable(
            columns=columns,
            styles=[*("bold" if row.rank == 1 else None for row in shown), *([] if baseline is None else ["italic"])],
            caption=f"and {more} more (report --limit {len(board.rows)})" if more else None,
            sections=frozenset(() if baseline is None else {len(shown) - 1}),
            elsewhere="see --json or the report",
        )


def _base_name(metric: str) -> str:
    """Return a metric's name without its split."""
    return metric.rpartition("/")[2].replace("_", "\n")


def _split(metric: str) -> str:
    """Return the split or shift set of a metric."""
    return metric.removeprefix("shift/").rpartition("/")[0].replace("_", "\n")


def _column(
    board: Leaderboard,
    head: str,
    cells: Iterable[RenderableType],
    baseline: str | None = None,
    *,
    name: str = "",
    priority: int = 0,
) -> Column:
    """Return a column. If the board has a baseline, its metric called ``baseline`` is the last cell."""
    last: list[str] = []
    if board.baseline is not None:
        digits = 4 if baseline == board.metric.name else 3
        value = board.baseline.get(baseline) if baseline is not None else None
        last = ["" if value is None else words.number(value, digits)]
    return Column(head=head, cells=[*cells, *last], name=name, priority=priority)


def _measured_columns(board: Leaderboard, rows: Sequence[Row]) -> list[Column]:
    """Return the first columns: place, trial, state, score, loss, gap, samples."""
    score, loss = board.metric.name, "val/loss"
    states = [state_text(row.state, board.status) for row in rows]
    if board.baseline is not None:
        states.append(Text("baseline"))
    losses = [words.number(row.val_loss, 3) for row in rows]
    return [
        _column(board, "#", (str(row.rank or words.MISSING) for row in rows)),
        _column(board, "trial", (str(row.number) for row in rows)),
        Column(head="state", cells=states, name="state", priority=2, left=True),
        _column(board, _base_name(score), (words.number(row.score) for row in rows), score),
        *_goal_columns(board, rows),
        *([_column(board, "loss", losses, loss, name="loss", priority=3)] if score != loss else []),
        _column(board, "gap", (words.signed(row.gap, 3) for row in rows), name="gap", priority=4),
        _column(
            board, "samples\nat best", (words.count(row.samples) for row in rows), name="samples at best", priority=5
        ),
    ]


def _goal_columns(board: Leaderboard, rows: Sequence[Row]) -> list[Column]:
    """Return the mark of each trial, and the further metrics of a goal without a column of their own."""
    if not isinstance(board.metric, Goal):
        return []
    names = [each.name for each in board.metric.also if each.name not in ("val/loss", "gap/loss")]
    columns = [_column(board, "mark", (row.mark for row in rows))]
    for name in names:
        values = [words.number(row.also[name], 3) for row in rows]
        columns.append(_column(board, name.replace("/", "\n"), values, name, name=words.short(name), priority=1))
    return columns


def _final_columns(board: Leaderboard, rows: Sequence[Row]) -> list[Column]:
    columns = []
    for name in board.final_metrics:
        values = [words.number(row.final.get(name), 3) for row in rows]
        priority = 8 if name.startswith("test/") else 9
        columns.append(_column(board, _split(name), values, name, name=words.short(name), priority=priority))
        limits = [words.interval(row.intervals.get(name), 3) for row in rows]
        if any(limits):
            columns.append(_column(board, "95 %\ninterval", limits, name=f"{_split(name)} interval", priority=10))
    return columns


def parameter_columns(
    names: Sequence[str], configurations: Sequence[Mapping[str, ParamValue]], *, empty_rows: int = 0
) -> list[Column]:
    """Return one column for each parameter. A narrow terminal hides the first three parameters last.

    Args:
        names: the parameters, in their order.
        configurations: one for each row.
        empty_rows: rows without a configuration at the end of the table.
    """
    return [
        Column(
            head=name.replace("_", "\n"),
            cells=[*(words.param_cell(params, name) for params in configurations), *[""] * empty_rows],
            name=name.replace("_", " "),
            priority=6 if index < 3 else 7,
        )
        for index, name in enumerate(names)
    ]
