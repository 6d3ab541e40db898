"""``ui``: start the MLflow UI and print the address of a sweep's page."""

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json
from orchestrator.cli.screen import Screen
from orchestrator.core.system.secrets import redact
from orchestrator.stores import existing_ledger, find_sweep, logs_folder, tracking_of

if TYPE_CHECKING:
    from orchestrator.core.sweeps.sweep import SweepRecord
    from orchestrator.tracking.location import Location


def ui(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Sweep name. Default: the newest sweep.")] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Network interface to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="PORT", help="Port. Default: 5000, or a free port if 5000 is taken."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the MLflow UI and print the page with the sweep's trials, best first. Ctrl-C stops the UI."""
    from orchestrator.tracking.location import locate
    from orchestrator.tracking.ui.server import serve

    screen = Screen(as_json=as_json)
    sweep = _sweep(name)
    location = locate(None if sweep is None else tracking_of(sweep))
    screen.say("starting the MLflow UI …")
    with serve(location, host=host, port=port, log=logs_folder() / "mlflow-ui.log") as base:
        address = redact(_page(base, location, sweep))
        screen.show(address, soft_wrap=True)
        screen.emit({"url": address, "server": base, "sweep": None if sweep is None else sweep.reference})
        if open_browser:
            typer.launch(address)
        if location.is_server:
            return
        screen.say("Ctrl-C stops it")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            screen.say("stopped")


def _sweep(name: str | None) -> "SweepRecord | None":
    if name is not None:
        return find_sweep(name)[1]
    ledger = existing_ledger()
    sweeps = () if ledger is None else ledger.sweeps.all()
    return sweeps[-1] if sweeps else None


def _page(base: str, location: "Location", sweep: "SweepRecord | None") -> str:
    from orchestrator.report.leaderboard import metric_of
    from orchestrator.tracking.runs.writer import offer_view
    from orchestrator.tracking.ui.links import runs_url, view_url

    if sweep is None or sweep.experiment_id is None:
        return base
    metric = metric_of(sweep)
    if offer_view(location, sweep.experiment_id, sweep, metric):
        return view_url(base, sweep.experiment_id, sweep)
    return runs_url(base, sweep.experiment_id, metric, sweep)
