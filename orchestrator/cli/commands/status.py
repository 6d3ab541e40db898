"""``status``: all sweeps, or one."""

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json
from orchestrator.cli.screen import Screen
from orchestrator.cli.stores import existing_ledger, find_sweep
from orchestrator.core.environment import program
from orchestrator.core.sweep import SUSPENDED, SweepRecord, SweepStatus

if TYPE_CHECKING:
    from orchestrator.ledger.ledger import Ledger


_PRIORITY = {"started": 4, "time": 3, "metric": 2, "trials": 1}
"""Columns of the list of sweeps that a narrow terminal hides, the largest first."""
_TEXT = {"sweep", "status", "metric", "started"}


def status(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One sweep; all of them if absent.")] = None,
    as_json: Json = False,
) -> None:
    """Show where sweeps are: running, interrupted or finished, and the best so far."""
    screen = Screen(as_json=as_json)
    if name is not None:
        _one(screen, *find_sweep(name))
        return
    ledger = existing_ledger()
    sweeps = () if ledger is None else ledger.sweeps.all()
    if ledger is None or not sweeps:
        screen.show(f"no sweeps yet; try: {program()} sweep sweeps/sentiment.yaml")
        screen.emit([])
        return
    _all(screen, ledger, sweeps)


def _all(screen: Screen, ledger: "Ledger", sweeps: tuple[SweepRecord, ...]) -> None:
    from orchestrator.report import words
    from orchestrator.report.fitting_table import Column, FittingTable
    from orchestrator.report.leaderboard import leaderboard, metric_of
    from orchestrator.report.summary import elapsed_of

    rows, documents = list[tuple[str, ...]](), []
    for sweep in sweeps:
        records = ledger.trials.all(sweep.id)
        metric, state = metric_of(sweep), _as_it_is(ledger, sweep).status.value
        best = leaderboard(records, metric).best
        states = Counter(record.state.value for record in records)
        elapsed_s = elapsed_of(sweep)
        rows.append(
            (
                sweep.reference,
                state,
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


def _one(screen: Screen, ledger: "Ledger", sweep: SweepRecord) -> None:
    from rich.text import Text

    from orchestrator.ledger.home import sweep_dir
    from orchestrator.report.summary import as_json, summarise
    from orchestrator.report.text import SHOWN, summary_text

    driver = ledger.drivers.live(sweep.id)
    sweep = _as_it_is(ledger, sweep)
    summary, state = summarise(sweep, ledger.trials.all(sweep.id)), sweep.status.value
    reason = sweep.facts.end_reason
    shown = reason and (sweep.status is SweepStatus.FINISHED or reason.startswith(SUSPENDED))
    told = f"{sweep.reference}: {state}" + (f", {reason}" if shown else "")
    screen.show(Text(told + (f" ({driver})" if driver else ""), style="bold"))
    screen.show(summary_text(summary, SHOWN))
    screen.show(Text(f"files in {sweep_dir(sweep)}", style="dim"), soft_wrap=True)
    screen.emit({**as_json(summary), "driver": None if driver is None else str(driver)})


def _as_it_is(ledger: "Ledger", sweep: SweepRecord) -> SweepRecord:
    """Return the sweep with the status that it has now; one that is being prepared or closed runs, too."""
    if ledger.drivers.live(sweep.id) is not None:
        return replace(sweep, status=SweepStatus.RUNNING)
    return ledger.sweeps.with_live_status(sweep)
