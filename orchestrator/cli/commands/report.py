"""``report``: show the leaderboard and write the HTML page with its charts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json, SweepName
from orchestrator.cli.screen import Screen
from orchestrator.stores import find_sweep, logs_folder

if TYPE_CHECKING:
    from orchestrator.report.summary import Summary


def report(
    name: SweepName,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Number of trials to show. Default: 20.", min=1)
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Show the leaderboard, the importances and the use of time. Write the HTML page with its charts."""
    from orchestrator.report.files import report_page
    from orchestrator.report.stored_summary import stored_summary
    from orchestrator.report.summary import as_json as plain
    from orchestrator.report.text import SHOWN, summary_text

    screen = Screen(as_json=as_json)
    ledger, sweep = find_sweep(name)
    with screen.quiet(logs_folder() / "report.log"):
        summary = stored_summary(ledger, sweep)
        screen.show(summary_text(summary, limit or SHOWN))
        files = _write(screen, report_page(sweep).parent, summary)
        if files:
            screen.show(f"\n{files[0]}", soft_wrap=True)
        screen.emit({**plain(summary), "files": [str(path) for path in files]})
    if open_page and files:
        typer.launch(files[0].as_uri())


def _write(screen: Screen, folder: Path, summary: "Summary") -> "tuple[Path, ...]":
    """Write the page and return its files, or show why the folder is not writable and return an empty tuple."""
    from orchestrator.report.files import write_report

    notes: dict[str, str] = {}
    try:
        files = tuple(write_report(folder, summary, notes))
    except OSError as error:
        screen.say(f"report not written to {folder}: {error.strerror or error}")
        return ()
    for note in notes.values():
        screen.say(note)
    return files
