"""``predict``: use a promoted model."""

import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.screen import Json, Screen
from orchestrator.cli.stores import logs_folder
from orchestrator.core.environment import program
from orchestrator.core.errors import UserError
from orchestrator.core.secrets import redact, unmasked

if TYPE_CHECKING:
    from orchestrator.serving.predictor import Prediction
    from orchestrator.tracking.location import Location

TrackingUri = Annotated[
    str | None, typer.Option(metavar="URI", help="MLflow's address; MLFLOW_TRACKING_URI or the local store if absent.")
]
RegistryUri = Annotated[
    str | None, typer.Option(metavar="URI", help="The registry's, if it is apart; MLFLOW_REGISTRY_URI if absent.")
]


def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME, NAME@alias, NAME/version or an exported folder.")
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; lines of stdin if absent.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at once.")] = 32,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Predict with a registered model or an exported folder."""
    from orchestrator.serving.predictor import Predictor

    screen = Screen(as_json=as_json)
    inputs = texts or _lines()
    with screen.quiet(logs_folder() / "predict.log"):
        predictor = Predictor.load(model, place(tracking_uri, registry_uri))
        predictions = predictor.predict(inputs, batch_size)
    _tell(screen, predictions)
    screen.emit(
        {
            "model": predictor.reference,
            "predictions": [{**asdict(item), "score": item.score} for item in predictions],
        }
    )


def place(tracking_uri: str | None, registry_uri: str | None) -> "Location":
    """Return where the registry is."""
    from orchestrator.core.policy import Tracking
    from orchestrator.tracking.location import locate

    return locate(Tracking(uri=tracking_uri, registry_uri=registry_uri))


def place_options(location: "Location") -> str:
    """Return the options, each after a space, that lead ``predict`` and ``rollback`` there; none if they look there."""
    default = place(None, None)
    told = (
        ""
        if location.tracking_uri == default.tracking_uri
        else f" --tracking-uri {shlex.quote(unmasked(redact(location.tracking_uri)))}"
    )
    found = place(location.tracking_uri, None)
    if location.registry_uri != found.registry_uri:
        told += f" --registry-uri {shlex.quote(unmasked(redact(location.registry_uri)))}"
    return told


def _lines() -> list[str]:
    if sys.stdin.isatty():
        sys.stderr.write("one text per line, Ctrl-D to end:\n")
    lines = [line.rstrip("\n") for line in sys.stdin]
    found = [line for line in lines if line.strip()]
    if not found:
        raise UserError(f'a text is needed: {program()} predict MODEL "some text", or lines on stdin')
    return found


def _tell(screen: Screen, predictions: "list[Prediction]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for item in predictions:
        score = "" if item.score is None else f"{item.score:.3f}"
        # Without probabilities the answer is generated text, which may be long: the input is shown first, dim.
        if item.score is None:
            table.add_row("", "", Text.assemble((item.text + "\n", "dim"), item.answer))
        else:
            table.add_row(Text(item.answer, style="bold"), score, Text(item.text, style="dim"))
    screen.show(table)
