"""The live view of a sweep: a table of trials, a progress bar and the best so far, redrawn in place."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.cli.progress import Progress
from orchestrator.core.plan import EnginePlan
from orchestrator.core.secrets import redact
from orchestrator.core.trial import Decision, Report, TrialRecord
from orchestrator.report import words
from orchestrator.report.fitting_table import Column, FittingTable
from orchestrator.report.text_table import STATE_STYLES, parameter_columns, state_text

AROUND = 11
"""Lines of the screen that the table's rows may not use: its head, what stands beneath it, the bar, the messages."""


class LiveView:
    """A ``SweepObserver`` that a terminal shows. Events only change the state; a thread of Rich's draws it."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._spinner = Spinner("dots")
        self._said = ""

    def prepared(self, plan: EnginePlan) -> None:
        self._progress.prepared(plan)

    def trial_started(self, trial: TrialRecord) -> None:
        self._progress.update(trial)

    def reported(self, trial: TrialRecord, report: Report) -> None:  # noqa: ARG002
        self._progress.update(trial)

    def decided(self, trial: TrialRecord, decision: Decision) -> None:  # noqa: ARG002
        self._progress.update(trial)

    def trial_ended(self, trial: TrialRecord) -> None:
        self._progress.update(trial)

    def say(self, line: str) -> None:
        """Show one line above the table, where it stays."""
        self._said = redact(line)
        self._console.print(Text(self._said, style="dim"))

    def release(self) -> None:
        """Give the terminal back in a hurry: its cursor was hidden."""
        self._console.show_cursor(True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the view while the block lasts; then it makes room for the result."""
        with Live(self, console=self._console, refresh_per_second=4, transient=True, redirect_stderr=False):
            yield

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the view as it stands, no higher than the screen."""
        if not self._progress.count:
            self._spinner.update(text=self._progress.message or "reading data, starting workers …")
            yield self._spinner
            return
        yield self._table(max(3, console.height - AROUND))
        yield self._overall()

    def _table(self, limit: int) -> FittingTable:
        progress = self._progress
        trials, best = progress.first(limit), progress.best
        cells = [self._cells(trial) for trial in trials]
        score = words.short(progress.metric.name).partition(" ")[2]
        columns = [
            Column(head=head, cells=column, name=head.strip(), priority=priority, left=head in {"state", " "})
            for (head, priority), column in zip(
                (("trial", 0), ("state", 2), ("samples", 3), (" ", 8), (f"best\n{score}", 0), ("loss", 4), ("gap", 5)),
                zip(*cells, strict=True),
                strict=True,
            )
        ]
        columns += parameter_columns(progress.varied, [trial.params for trial in trials])
        return FittingTable(
            columns=columns,
            styles=["bold" if best is not None and trial.number == best.number else None for trial in trials],
            caption=f"and {progress.count - limit} more" if progress.count > limit else None,
            elsewhere="see the report",
            wrap=False,  # the screen's lines are counted
        )

    def _cells(self, trial: TrialRecord) -> list[RenderableType]:
        whole, samples = self._progress.whole_samples(trial), self._progress.samples(trial)
        colour = STATE_STYLES[trial.state]
        bar: RenderableType = ""
        if whole:
            bar = ProgressBar(total=whole, completed=samples, width=10, complete_style=colour, finished_style=colour)
        # All three are measured at one checkpoint, the one that would be kept: as in the leaderboard at the end.
        best = trial.best(self._progress.metric)
        at_best = {} if best is None else best.metrics
        loss, gap = words.number(at_best.get("val/loss"), 3), words.signed(at_best.get("gap/loss"), 3)
        score = words.number(at_best.get(self._progress.metric.name))
        state = Text("waiting", "dim") if trial.undecided else state_text(trial.state)
        return [str(trial.number), state, words.count(samples), bar, score, loss, gap]

    def _overall(self) -> Group:
        progress = self._progress
        best = progress.best
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=1.0, completed=progress.fraction, width=24, complete_style="cyan"),
            words.percent(progress.fraction),
            progress.tally,
        )
        parts: list[RenderableType] = [bar]
        if best is not None:
            score = words.number(best.score(progress.metric))
            told = f"best so far: {progress.metric.name} {score}, trial {best.number}  "
            told += words.params(best.params, progress.varied)
            parts.append(Text(told, style="green", overflow="ellipsis", no_wrap=True))
        if progress.ended == progress.count and self._said:
            parts.append(Text(self._said, style="dim", overflow="ellipsis", no_wrap=True))  # what keeps it from ending
        if progress.message:
            parts.append(Text(progress.message, style="yellow"))
        return Group(*parts)
