"""The live view of a sweep: a table of trials, a progress bar and the best so far, redrawn in place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.cli.progress import Progress
from orchestrator.core.secrets import redact
from orchestrator.core.trial import Report, TrialRecord, Verdict
from orchestrator.report import words
from orchestrator.report.text_table import STATE_STYLES, not_shown, plain_table, state_text

AROUND = 11
"""Lines of the screen that the table's rows may not use: its head, what stands beneath it, the bar, the messages."""


class LiveView:
    """A ``SweepObserver`` that a terminal shows. Events only change the state; a thread of Rich's draws it."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._spinner = Spinner("dots")
        self._said = ""

    def trial_started(self, trial: TrialRecord) -> None:
        self._progress.update(trial)

    def reported(self, trial: TrialRecord, report: Report) -> None:  # noqa: ARG002
        self._progress.update(trial)

    def decided(self, trial: TrialRecord, verdict: Verdict) -> None:  # noqa: ARG002
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
        varied = self._progress.varied
        fitting = max(0, (options.max_width - 62) // 10)
        yield self._table(max(3, console.height - AROUND), varied[:fitting])
        if varied[fitting:]:
            told = not_shown(varied[fitting:], "in the report")
            told.no_wrap, told.overflow = True, "ellipsis"  # the screen's lines are counted
            yield told
        yield self._overall()

    def _table(self, limit: int, names: Sequence[str]) -> Table:
        table = plain_table()
        metric = self._progress.metric
        for head in (
            "trial",
            "state",
            "samples",
            "",
            f"best\n{words.short(metric.name).partition(' ')[2]}",
            "loss",
            "gap",
        ):
            left = head in {"state", ""}
            table.add_column(
                head.replace("_", "\n"), justify="left" if left else "right", vertical="bottom", no_wrap=True
            )
        for name in names:
            table.add_column(name.replace("_", "\n"), justify="right", vertical="bottom", no_wrap=True)
        best = self._progress.best
        for trial in self._progress.first(limit):
            style = "bold" if best is not None and trial.number == best.number else None
            table.add_row(*self._cells(trial), *_params(trial, names), style=style)
        if self._progress.count > limit:
            table.caption = f"and {self._progress.count - limit} more"
        return table

    def _cells(self, trial: TrialRecord) -> list[RenderableType]:
        whole = self._progress.whole_samples(trial)
        colour = STATE_STYLES[trial.state]
        bar: RenderableType = ""
        if whole:
            bar = ProgressBar(
                total=whole, completed=trial.samples, width=10, complete_style=colour, finished_style=colour
            )
        # All three are measured at one checkpoint, the one that would be kept: as in the leaderboard at the end.
        best = trial.best(self._progress.metric)
        at_best = {} if best is None else best.metrics
        loss, gap = words.number(at_best.get("val/loss"), 3), words.signed(at_best.get("gap/loss"), 3)
        score = words.number(at_best.get(self._progress.metric.name))
        state = Text("waiting", "dim") if trial.undecided else state_text(trial.state)
        return [str(trial.number), state, words.count(trial.samples), bar, score, loss, gap]

    def _overall(self) -> Group:
        progress = self._progress
        left, best = progress.left_s, progress.best
        of = f" of {progress.budget.trials}" if progress.budget.trials else ""
        line = f"{progress.ended}{of} trials · {words.duration(progress.elapsed_s)}"
        line += "" if left is None else f" · {words.duration(left)} left"
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=1.0, completed=progress.fraction, width=24, complete_style="cyan"),
            words.percent(progress.fraction),
            line,
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


def _params(trial: TrialRecord, names: Sequence[str]) -> list[str]:
    return [words.param(trial.params[name]) if name in trial.params else words.MISSING for name in names]
