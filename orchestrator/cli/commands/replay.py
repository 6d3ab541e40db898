"""``replay``: search among recorded trials in simulated time. Nothing is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json, Overrides
from orchestrator.cli.screen import Screen
from orchestrator.stores import find_sweep, logs_folder

if TYPE_CHECKING:
    from orchestrator.preparation.defaults import Stored
    from orchestrator.replay.summary import ReplaySummary
    from orchestrator.replay.table import TrialTable

_NEW_PROPOSALS = ("search", "seed")
"""Sections whose overrides change the order of the trials."""


def replay(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Trial table (.parquet), or the name of a sweep.")],
    override: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Number of replays, each with its own seed.")] = 1,
    as_json: Json = False,
) -> None:
    """Replay a search over recorded trials with another sampler, rule or budget. Nothing is trained.

    A sweep's trials keep their order, unless --set changes the search or there are several seeds. Trials that the
    recorded sweep stopped are unknown beyond their last report.
    """
    screen = Screen(as_json=as_json)
    changes = tuple(override or ())
    with screen.quiet(logs_folder() / "replay.log"):
        recorded, stored = _read(table)
        keeps_order = (
            stored is not None and seeds == 1 and not any(change.startswith(_NEW_PROPOSALS) for change in changes)
        )
        own = _replays(recorded, (), stored, seeds, keeps_order=keeps_order)
        changed = _replays(recorded, changes, stored, seeds, keeps_order=keeps_order) if changes else own
    screen.show(f"{recorded.name}: {len(recorded.trials)} trials, {len(recorded.configurations())} configurations")
    _show(screen, changed, own if changes else None)
    screen.emit(
        {
            "table": recorded.name,
            "changes": list(changes),
            "replays": [asdict(summary) for summary in changed],
            "own": [asdict(summary) for summary in own],
        }
    )


def _read(table: str) -> "tuple[TrialTable, Stored | None]":
    """Return the table of a file without a fingerprint, or of a stored sweep with its fingerprint.

    Raises:
        UserError: there are no trials, or no such sweep.
    """
    from orchestrator.core.errors import UserError
    from orchestrator.replay.recorded import table_of
    from orchestrator.replay.table_file import read_table

    if table.endswith(".parquet"):
        recorded, stored = read_table(Path(table)), None
    else:
        ledger, sweep = find_sweep(table)
        recorded, stored = table_of(ledger, sweep), sweep.fingerprint
    if not any(trial.reports for trial in recorded.trials):
        raise UserError(f"{table} has no report to replay; wait for the first report of a trial")
    return recorded, stored


def _replays(
    table: "TrialTable", changes: Sequence[str], stored: "Stored | None", seeds: int, *, keeps_order: bool
) -> "tuple[ReplaySummary, ...]":
    """Return the figures of one replay per seed, from the sweep file's seed on."""
    from orchestrator.replay.replay import in_recorded_order, replay_plan, search_plan, slots_of
    from orchestrator.replay.summary import summarise_replay
    from orchestrator.replay.task import spec_of

    spec = spec_of(table, changes, stored)
    plan = search_plan(table, spec, spec.seed)
    if keeps_order:
        plan = in_recorded_order(table, plan)
    return tuple(
        summarise_replay(replay_plan(table, replace(plan, seed=seed), slots_of(spec)), table, seed)
        for seed in range(spec.seed, spec.seed + seeds)
    )


def _show(screen: Screen, replays: "Sequence[ReplaySummary]", own: "Sequence[ReplaySummary] | None") -> None:
    """Show the figures beside those of the table's own sweep file; with several seeds their means."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 3))
    if own is not None:
        grid.add_row("", Text("with --set", style="bold"), Text("own sweep file", style="bold"))
    columns = [_figures(replays), *([] if own is None else [_figures(own)])]
    for name in columns[0]:
        grid.add_row(Text(f"  {name}", style="dim"), *(Text(column[name]) for column in columns))
    screen.show(grid)
    if len(replays) > 1:
        return
    (only,) = replays
    for samples, numbers in only.stopped.items():
        screen.show(f"stopped at {samples:,} samples: trials {_listed(numbers)}")
    for samples, numbers in only.unknown.items():
        screen.show(f"continued, but unknown beyond {samples:,} recorded samples: trials {_listed(numbers)}")


def _figures(replays: "Sequence[ReplaySummary]") -> dict[str, str]:
    """Return one column: the figures of a replay, or the means of several."""
    from orchestrator.core.space import format_value
    from orchestrator.report import words

    several = len(replays) > 1
    digits = 1 if several else 0
    first = replays[0]
    scores = [summary.score for summary in replays if summary.score is not None]
    regrets = [summary.regret for summary in replays if summary.regret is not None]
    figures = {"mean of": f"{len(replays)} seeds"} if several else {}
    figures |= {
        "trials": f"{mean(summary.trials for summary in replays):.{digits}f}",
        "stopped early": f"{mean(_count(summary.stopped) for summary in replays):.{digits}f}",
        "unknown": f"{mean(_count(summary.unknown) for summary in replays):.{digits}f}",
        "samples": f"{mean(summary.samples for summary in replays):,.0f}",
        "simulated time": words.duration(mean(summary.seconds for summary in replays)),
    }
    if not several:
        chosen = ", ".join(f"{name}={format_value(value, 3)}" for name, value in first.params.items())
        figures["winner"] = "none" if first.winner is None else f"trial {first.winner} ({chosen})"
    figures["score"] = words.number(mean(scores) if scores else None)
    figures[f"regret, {first.regret_metric}"] = words.number(mean(regrets) if regrets else None)
    return figures


def _count(groups: Mapping[int, Sequence[int]]) -> int:
    return sum(map(len, groups.values()))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
