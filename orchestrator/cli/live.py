"""The live view of a sweep: a table of trials, a progress bar and the best trial, redrawn in place."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from orchestrator.cli.progress import Progress
from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.system.secrets import redact
from orchestrator.core.trials.trial import Decision, Report, TrialRecord
from orchestrator.report import words
from orchestrator.report.fitting_table import Column, FittingTable
from orchestrator.report.text_table import STATE_STYLES, parameter_columns, state_text

RESERVED_LINES = 11
"""Screen lines reserved for the table's head and caption, the progress bar and messages."""


class LiveView(SweepObserver):
    """A ``SweepObserver`` for terminals. Events update the progress; a thread of Rich redraws the view."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._spinner = Spinner("dots")
        self._last_line = ""

    @override
    def prepared(self, plan: EnginePlan) -> None:
        self._progress.prepared(plan)

    @override
    def trial_started(self, trial: TrialRecord) -> None:
        self._progress.update(trial)

    @override
    def reported(self, trial: TrialRecord, report: Report) -> None:
        self._progress.update(trial)

    @override
    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        self._progress.update(trial)

    @override
    def trial_ended(self, trial: TrialRecord) -> None:
        self._progress.update(trial)

    @override
    def answered(self, request: ControlRequest) -> None:
        self._progress.answered(request)
        self.say(request.sentence)

    def say(self, line: str) -> None:
        """Print one line above the table."""
        self._last_line = redact(line)
        self._console.print(Text(self._last_line, style="dim"))

    def release(self) -> None:
        """Show the terminal's cursor again, before the process ends at once."""
        self._console.show_cursor(True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the view during the block and clear it afterwards."""
        with Live(self, console=self._console, refresh_per_second=4, transient=True, redirect_stderr=False):
            yield

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the current state, at most as high as the screen."""
        if not self._progress.count:
            self._spinner.update(text=self._progress.message or "reading data and starting workers …")
            yield self._spinner
            return
        yield self._table(max(3, console.height - RESERVED_LINES))
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
            wrap=False,  # a wrapped line could exceed the screen's height
        )

    def _cells(self, trial: TrialRecord) -> list[RenderableType]:
        whole, samples = self._progress.whole_samples(trial), self._progress.samples(trial)
        colour = STATE_STYLES[trial.state]
        bar: RenderableType = ""
        if whole:
            bar = ProgressBar(total=whole, completed=samples, width=10, complete_style=colour, finished_style=colour)
        # All three values belong to the best checkpoint, as in the leaderboard.
        best = trial.best(self._progress.metric)
        at_best = {} if best is None else best.metrics
        loss, gap = words.number(at_best.get("val/loss"), 3), words.signed(at_best.get("gap/loss"), 3)
        score = words.number(at_best.get(self._progress.metric.name))
        state = Text("waiting", "dim") if trial.undecided else state_text(trial.state)
        if self._progress.suspends and not trial.ended:
            state = Text("suspended", "dim")
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
            line = f"best so far: {progress.metric.name} {score}, trial {best.number}  "
            line += words.params(best.params, progress.varied)
            parts.append(Text(line, style="green", overflow="ellipsis", no_wrap=True))
        if (progress.suspends or not progress.running) and self._last_line:  # the sweep is closing
            parts.append(Text(self._last_line, style="dim", overflow="ellipsis", no_wrap=True))
        if progress.paused_by is not None:
            parts.append(Text(f"paused by {progress.paused_by}", style="yellow", overflow="ellipsis", no_wrap=True))
        if progress.message:
            parts.append(Text(progress.message, style="yellow"))
        return Group(*parts)
