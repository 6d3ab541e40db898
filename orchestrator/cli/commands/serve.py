"""``serve``: answer requests over HTTP with many adapters over shared base models."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import BasePrecision, Json, RegistryUri, TrackingUri, registry_location
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.plan import Precision
from orchestrator.core.system.environment import program
from orchestrator.serving.server.limits import Limits
from orchestrator.stores import logs_folder

if TYPE_CHECKING:
    import socket

    from orchestrator.serving.server.models import ServedModels

DEFAULT = Limits()
Models = Annotated[
    list[str],
    typer.Argument(metavar="MODEL", help="NAME, NAME@alias, NAME/version or exported folder; NAME=MODEL renames it."),
]
Host = Annotated[str, typer.Option(metavar="HOST", help="Address to listen on. Other than loopback, it needs a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port. 0: any free port.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File with the clients' token. Default: LORATORY_SERVE_TOKEN, or no token."),
]
BatchRows = Annotated[int, typer.Option(min=1, metavar="N", help="Most rows computed together.")]
BatchWait = Annotated[
    float, typer.Option(min=0, max=1000, metavar="MS", help="Milliseconds for which a row waits for further rows.")
]
MaxRows = Annotated[int, typer.Option(min=1, metavar="N", help="Most texts in a request.")]
MaxChars = Annotated[int, typer.Option(min=1, metavar="N", help="Most characters in a text.")]
MaxBody = Annotated[int, typer.Option(min=1, metavar="BYTES", help="Most bytes in a request.")]
MaxWaiting = Annotated[int, typer.Option(min=1, metavar="N", help="Most rows that wait for an answer.")]
MaxNewTokens = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Most tokens of an answer, in a request or by the adapter's own limit."),
]
Rate = Annotated[float, typer.Option(min=0.01, metavar="R", help="Most requests per second from one client address.")]
Grace = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="Time for requests in progress after a signal to stop.")
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N.")]


def serve(
    models: Models,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    batch_rows: BatchRows = DEFAULT.batch_rows,
    batch_wait: BatchWait = 1000 * DEFAULT.batch_wait_s,
    max_rows: MaxRows = DEFAULT.request_rows,
    max_chars: MaxChars = DEFAULT.text_chars,
    max_body: MaxBody = DEFAULT.body_bytes,
    max_waiting: MaxWaiting = DEFAULT.waiting_rows,
    max_new_tokens: MaxNewTokens = DEFAULT.new_tokens,
    rate: Rate = DEFAULT.rate,
    grace: Grace = DEFAULT.grace_s,
    device: Device = "cpu",
    precision: BasePrecision = Precision.FLOAT32,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Serve models over HTTP: JSON in and out, many adapters over one base model.

    A request names its model: POST /predict {"model": "NAME", "texts": ["..."]}. Ctrl-C or SIGTERM ends the server.
    """
    from orchestrator.serving.server.models import load_models
    from orchestrator.serving.server.run import listen, read_token

    limits = Limits(
        batch_rows=batch_rows,
        batch_wait_s=batch_wait / 1000,
        waiting_rows=max(max_waiting, max_rows),
        request_rows=max_rows,
        text_chars=max_chars,
        body_bytes=max_body,
        new_tokens=max_new_tokens,
        rate=rate,
        grace_s=grace,
    )
    screen = Screen(as_json=as_json)
    token = read_token(host, token_file)
    _check_device(device)
    listener = listen(host, port)  # before the models: a used port is reported at once
    with screen.quiet(logs_folder() / "serve.log"):
        location = registry_location(tracking_uri, registry_uri)
        served = load_models(models, location, batch_rows, device, precision)
    _run(screen, served, limits, token, listener)


def _run(screen: Screen, served: "ServedModels", limits: Limits, token: str | None, listener: "socket.socket") -> None:
    from orchestrator.serving.server.app import create_app
    from orchestrator.serving.server.run import address_of, run

    address = address_of(listener)
    references = {name: predictor.reference for name, predictor in served.predictors.items()}

    def ready() -> None:
        for name, reference in references.items():
            screen.say(f"{name}: {reference}, base {served.predictors[name].card.base}")
        needed = "no token is needed on this machine" if token is None else "requests need the token"
        screen.say(f"{address} answers POST /predict; {needed}")
        screen.emit({"url": address, "pid": os.getpid(), "models": references})

    if run(create_app(served, limits, token), listener, limits, ready):
        screen.say("stopped")
        return
    screen.say(f"stopped; requests in progress were cut off after {limits.grace_s:g} s, or by a second Ctrl-C")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)  # the computing thread would delay the end of the process


def _check_device(device: str) -> None:
    """Raise ``UserError`` if torch cannot use the device."""
    import torch

    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"--device: cpu, cuda or cuda:N is needed, got {device!r}") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(chosen.type, 0)
    if (chosen.index or 0) >= count:
        raise UserError(f"--device {device}: not available here; `{program()} doctor` lists the devices")
