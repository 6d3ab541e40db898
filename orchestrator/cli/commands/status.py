"""``status``: list all sweeps, or show one."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json
from orchestrator.cli.screen import Screen
from orchestrator.core.sweeps.control import paused_by
from orchestrator.core.sweeps.sweep import SUSPENDED, SweepRecord, SweepStatus
from orchestrator.core.system.environment import program
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.stores import existing_ledger, find_sweep, with_current_status

if TYPE_CHECKING:
    from orchestrator.ledger.ledger import Ledger


_PRIORITY = {"started": 4, "time": 3, "metric": 2, "trials": 1}
"""Order in which a narrow terminal hides columns, the largest first."""
_TEXT = {"sweep", "status", "metric", "started"}


def status(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Sweep name. Default: all sweeps.")] = None,
    as_json: Json = False,
) -> None:
    """Show sweeps with their status (running, interrupted, finished) and their best score so far."""
    screen = Screen(as_json=as_json)
    if name is not None:
        _show_one(screen, *find_sweep(name))
        return
    ledger = existing_ledger()
    sweeps = () if ledger is None else ledger.sweeps.all()
    if ledger is None or not sweeps:
        screen.show(f"no sweeps yet; start one: {program()} sweep sweeps/sentiment.yaml")
        screen.emit([])
        return
    _show_all(screen, ledger, sweeps)


def _show_all(screen: Screen, ledger: "Ledger", sweeps: tuple[SweepRecord, ...]) -> None:
    from orchestrator.report import words
    from orchestrator.report.fitting_table import Column, FittingTable
    from orchestrator.report.leaderboard import leaderboard, metric_of
    from orchestrator.report.summary import elapsed_of

    rows, documents = list[tuple[str, ...]](), []
    for sweep in sweeps:
        trials = ledger.trials.all(sweep.id)
        records = of_the_search(trials)
        metric, current = metric_of(sweep), with_current_status(ledger, sweep)
        state, paused = current.status.value, paused_by(ledger.requests.all(sweep.id)) is not None
        best = leaderboard(trials, metric).best
        states = Counter(record.state.value for record in records)
        elapsed_s = elapsed_of(sweep)
        rows.append(
            (
                sweep.reference,
                f"{state}, paused" if paused else state,
                str(len(records)),
                words.number(None if best is None else best.score),
                metric.name.rpartition("/")[2],
                words.duration(elapsed_s),
                time.strftime("%d %b %H:%M", time.localtime(sweep.created_at)),
            )
        )
        documents.append(
            {
                "sweep": sweep.reference,
                "status": state,
                "paused": paused,
                "trials": dict(states),
                "metric": metric.name,
                "best": None if best is None else {"trial": best.number, "score": best.score},
                "elapsed_s": elapsed_s,
                "created_at": sweep.created_at,
            }
        )
    heads = ("sweep", "status", "trials", "best", "metric", "time", "started")
    columns = [
        Column(head=head, cells=cells, name=head, priority=_PRIORITY.get(head, 0), left=head in _TEXT)
        for head, cells in zip(heads, zip(*rows, strict=True), strict=True)
    ]
    table = FittingTable(columns=columns, styles=[None] * len(rows), elsewhere="see --json")
    screen.show(table)
    screen.emit(documents)


def _show_one(screen: Screen, ledger: "Ledger", sweep: SweepRecord) -> None:
    from rich.text import Text

    from orchestrator.ledger.home import sweep_dir
    from orchestrator.report.summary import as_json, summarise
    from orchestrator.report.text import SHOWN, summary_text

    driver = ledger.drivers.live(sweep.id)
    sweep = with_current_status(ledger, sweep)
    requests = ledger.requests.all(sweep.id)
    summary, state = summarise(sweep, ledger.trials.all(sweep.id), requests=requests), sweep.status.value
    reason = sweep.facts.end_reason
    shown = reason and (sweep.status is SweepStatus.FINISHED or reason.startswith(SUSPENDED))
    title = f"{sweep.reference}: {state}" + (f", {reason}" if shown else "")
    paused = paused_by(requests)
    title += "" if paused is None else f", paused by {paused.author}"
    screen.show(Text(title + (f" ({driver})" if driver else ""), style="bold"))
    screen.show(summary_text(summary, SHOWN))
    screen.show(Text(f"files in {sweep_dir(sweep)}", style="dim"), soft_wrap=True)
    screen.emit({**as_json(summary), "driver": None if driver is None else str(driver), "paused": paused is not None})
