"""``report``: the leaderboard on the screen, and the page with its pictures."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.screen import Json, Screen
from orchestrator.cli.stores import SweepName, find_sweep, logs_folder, sweep_folder

if TYPE_CHECKING:
    from orchestrator.search.importances import Importances as Found


def report(
    name: SweepName,
    limit: Annotated[int | None, typer.Option(help="Show this many trials on the screen.", min=1)] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Show the leaderboard, what mattered and where the time went; write the HTML page and the pictures."""
    from orchestrator.report.files import write_report
    from orchestrator.report.summary import Importances, summarise
    from orchestrator.report.summary import as_json as plain
    from orchestrator.report.text import summary_text
    from orchestrator.search.importances import importances

    screen = Screen(as_json=as_json)
    ledger, sweep = find_sweep(name)
    with screen.quiet(logs_folder() / "report.log"):
        records = ledger.records(sweep.id)
        summary = summarise(sweep, records)
        found = importances(records, summary.leaderboard.metric)
        summary = summarise(sweep, records, Importances(values=found.shares, note=_note(found)))
        screen.show(summary_text(summary, limit))
        files = write_report(sweep_folder(sweep) / "report", summary)
        screen.show(f"\n{files[0]}", soft_wrap=True)
        screen.emit({**plain(summary), "files": [str(path) for path in files]})
    if open_page:
        typer.launch(files[0].as_uri())


def _note(found: "Found") -> str | None:
    """Return where the trials were compared, and what else is to be known."""
    if not found.shares:
        return found.note
    compared = f"{found.trials} trials at {found.nominal_samples:,} samples"
    return f"{compared}; {found.note}" if found.note else compared
