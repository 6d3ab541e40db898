"""``ui``: the MLflow UI at the page that shows a sweep's trials at once."""

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json
from orchestrator.cli.screen import Screen
from orchestrator.core.secrets import redact
from orchestrator.stores import existing_ledger, find_sweep, logs_folder, tracking_of

if TYPE_CHECKING:
    from orchestrator.core.sweep import SweepRecord


def ui(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The sweep; the newest of all if absent.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; 5000, or a free one if it is taken.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the MLflow UI on the sweep's store, and print the page with its trials, the best first. Ctrl-C ends it."""
    from orchestrator.tracking.location import locate
    from orchestrator.tracking.server import serve

    screen = Screen(as_json=as_json)
    sweep = _sweep(name)
    location = locate(None if sweep is None else tracking_of(sweep))
    screen.say("starting the MLflow UI …")
    with serve(location, host=host, port=port, log=logs_folder() / "mlflow-ui.log") as base:
        address = redact(_page(base, sweep))
        screen.show(address, soft_wrap=True)
        screen.emit({"url": address, "server": base, "sweep": None if sweep is None else sweep.reference})
        if open_browser:
            typer.launch(address)
        if location.is_server:
            return
        screen.say("Ctrl-C ends it")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            screen.say("ended")


def _sweep(name: str | None) -> "SweepRecord | None":
    if name is not None:
        return find_sweep(name)[1]
    ledger = existing_ledger()
    sweeps = () if ledger is None else ledger.sweeps.all()
    return sweeps[-1] if sweeps else None


def _page(base: str, sweep: "SweepRecord | None") -> str:
    from orchestrator.report.leaderboard import metric_of
    from orchestrator.tracking.links import runs_url

    if sweep is None or sweep.experiment_id is None:
        return base
    return runs_url(base, sweep.experiment_id, metric_of(sweep), sweep)
