"""The report for a terminal, as Rich renderables."""

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.core.sweeps.sweep import state_word
from orchestrator.report import words
from orchestrator.report.data_text import data_lines
from orchestrator.report.leaderboard import Leaderboard
from orchestrator.report.learning_curve import answer_text, points_text
from orchestrator.report.summary import Summary
from orchestrator.report.text_table import STATE_STYLES, LeaderboardTable
from orchestrator.report.time_use import TimeUse

SHOWN = 20
"""Default number of trials shown by a command. Rich takes seconds for thousands."""


def time_text(time: TimeUse) -> Text:
    """Return one line with the wall time and its parts."""
    parts = [f"{name} {words.percent(time.share(seconds))}" for name, seconds in time.parts]
    parts.append(f"{time.busy_slots:.1f} active trials on average")
    return Text.assemble((words.duration(time.elapsed_s), "bold"), f": {' · '.join(parts)}")


def importances_table(summary: Summary) -> RenderableType:
    """Return one bar for each parameter, the most important first, or the reason for their absence."""
    note = Text(summary.importances.note or "", style="dim")
    values = sorted(summary.importances.values.items(), key=lambda item: -item[1])
    if not values:
        return note
    table = Table.grid(padding=(0, 2))
    top = max(values[0][1], 1e-9)
    for name, value in values:
        bar = ProgressBar(total=top, completed=value, width=30, complete_style="blue", finished_style="blue")
        table.add_row(name, bar, words.number(value, 2))
    return Group(table, note) if summary.importances.note else table


def states_text(summary: Summary) -> Text:
    """Return the number of trials in each state: ``9 complete · 3 pruned``."""
    status = summary.sweep.status
    parts = [Text(f"{n} {state_word(state, status)}", style=STATE_STYLES[state]) for state, n in summary.states.items()]
    return Text(" · ").join(parts) if parts else Text("no trials yet")


def winner_text(board: Leaderboard) -> Text | None:
    """Return the winner's metrics on the test split and the shift sets; None if neither was measured.

    The leaderboard has them too, but a narrow terminal hides those columns.
    """
    if board.best is None:
        return None
    measured, lines = board.best.final, list[str]()
    for name in board.final_metrics:
        if name.startswith("test/") and name in measured:
            baseline = (board.baseline or {}).get(name)
            comparison = "" if baseline is None else f" (baseline {words.number(baseline, 3)})"
            value = words.with_interval(measured[name], board.best.intervals.get(name), 3)
            lines.append(f"{words.short(name)} {value}{comparison}")
    shift = [name for name in board.final_metrics if name.startswith("shift/") and name in measured]
    if shift:
        limits = board.best.intervals
        sets = (
            f"{words.short(name.rpartition('/')[0])} {words.with_interval(measured[name], limits.get(name), 3)}"
            for name in shift
        )
        lines.append(f"shift: {' · '.join(sets)}")
    for name in filter(_forgets, sorted(measured)):
        lines.append(f"{words.short(name)} {words.with_interval(measured[name], board.best.intervals.get(name), 3)}")
    return Text(f"trial {board.best.number} · " + "\n".join(lines)) if lines else None


def _forgets(metric: str) -> bool:
    return metric.startswith("forgetting/")


def summary_text(summary: Summary, limit: int | None = None) -> Group:
    """Return the whole report: leaderboard, winner, data, time and importances."""
    parts: list[RenderableType] = [LeaderboardTable(board=summary.leaderboard, limit=limit)]
    facts = Table.grid(padding=(0, 2))
    winner = winner_text(summary.leaderboard)
    if winner is not None:
        facts.add_row("winner", winner)
    for name, line in _result_lines(summary):
        facts.add_row(name, Text(line))
    facts.add_row("trials", states_text(summary))
    for name, line in data_lines(summary.data, summary.data_summary):
        facts.add_row(name, Text(line))
    if summary.time is not None:
        facts.add_row("time", time_text(summary.time))
    if summary.importances.values or summary.importances.note:
        facts.add_row("importances", importances_table(summary))
    for request in summary.requests:
        facts.add_row("request", Text(request.sentence))
    for note in summary.notes:
        facts.add_row("note", Text(note))
    return Group(*parts, facts)


def _result_lines(summary: Summary) -> list[tuple[str, str]]:
    """Return pairs of a name and a sentence on the results of the search."""
    board, score, gain = summary.leaderboard, summary.winner_score, summary.search_gain
    curve = summary.learning_curve
    lines = [
        ("intervals", board.interval_note),
        ("choice", None if score is None else score.sentence),
        *(("confirmed", each.sentence) for each in summary.confirmation),
        ("confirm", summary.sweep.facts.confirmation),
        *(() if curve is None else (("rows", f"{points_text(curve)}; {answer_text(curve)}"),)),
        ("kept", board.comparison_note),
        *summary.quality_lines,
        ("search", None if gain is None else gain.sentence),
        ("memory", summary.out_of_memory),
        ("prior", summary.sweep.facts.prior),
    ]
    return [(name, line) for name, line in lines if line is not None]


def commands_text(commands: tuple[tuple[str, str], ...], width: int) -> Text:
    """Return the commands with their purposes. Print the text with ``soft_wrap`` to keep every command in one line.

    Args:
        commands: pairs of a purpose and a command.
        width: columns of the terminal. If a command does not fit beside its purpose, commands stand below purposes.
    """
    indent = max((len(purpose) for purpose, _ in commands), default=0) + 3
    fits = all(indent + len(command) <= width for _, command in commands)
    lines = [
        Text.assemble((f"{purpose:<{indent}}" if fits else f"{purpose}\n  ", "dim"), (command, "bold cyan"))
        for purpose, command in commands
    ]
    return Text("\n").join(lines)
