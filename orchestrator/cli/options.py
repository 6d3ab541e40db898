"""Options and arguments shared by several commands."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.plan import WeightFormat
from orchestrator.core.system.secrets import redact, unmasked

if TYPE_CHECKING:
    from orchestrator.tracking.location import Location

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout. Messages go to stderr.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override one value of the sweep file. May be repeated."),
]
SweepName = Annotated[
    str, typer.Argument(metavar="NAME", help="Sweep name. NAME is its newest generation, NAME#1 the first.")
]
Trial = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Trial number. Default: the best trial with a kept adapter.")
]
Retrain = Annotated[
    bool,
    typer.Option(
        "--retrain", help="Train the trial again, with its configuration and seed, if its adapter was not kept."
    ),
]
BasePrecision = Annotated[
    WeightFormat,
    typer.Option("--precision", help="Number format of the frozen base weights; bfloat16 takes half the memory."),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(metavar="URI", help="MLflow tracking URI. Default: MLFLOW_TRACKING_URI, or the local store."),
]
RegistryUri = Annotated[
    str | None,
    typer.Option(
        metavar="URI", help="Model registry URI, if different. Default: MLFLOW_REGISTRY_URI, or the tracking URI."
    ),
]


def registry_location(tracking_uri: str | None, registry_uri: str | None) -> "Location":
    """Return the MLflow location for ``--tracking-uri`` and ``--registry-uri``."""
    from orchestrator.core.sweeps.policy import Tracking
    from orchestrator.tracking.location import locate

    return locate(Tracking(uri=tracking_uri, registry_uri=registry_uri))


def existing_registry(tracking_uri: str | None, registry_uri: str | None) -> "Location":
    """Return the location as ``registry_location`` does. A missing local store is not created.

    Raises:
        UserError: the local store does not exist.
    """
    from orchestrator.tracking.location import SQLITE

    location = registry_location(tracking_uri, registry_uri)
    for uri in (location.tracking_uri, location.registry_uri):
        if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
            raise UserError(
                f"no registry at {uri}: the file does not exist. Run the command in the folder of your sweeps, or name "
                "the registry with --tracking-uri or MLFLOW_TRACKING_URI"
            )
    return location


def registry_options(location: "Location") -> str:
    """Return the options with which ``predict`` and ``rollback`` use ``location``, each with a leading space.

    The result is empty if ``location`` is the default. Passwords are left out.
    """
    default = registry_location(None, None)
    options = (
        ""
        if location.tracking_uri == default.tracking_uri
        else f" --tracking-uri {shlex.quote(unmasked(redact(location.tracking_uri)))}"
    )
    implied = registry_location(location.tracking_uri, None)
    if location.registry_uri != implied.registry_uri:
        options += f" --registry-uri {shlex.quote(unmasked(redact(location.registry_uri)))}"
    return options


def mlflow_variables(location: "Location") -> str:
    """Return the environment variables with which MLflow's own commands use ``location``. Passwords are left out."""
    variables = {"MLFLOW_TRACKING_URI": location.tracking_uri}
    if location.registry_uri != location.tracking_uri:
        variables["MLFLOW_REGISTRY_URI"] = location.registry_uri
    return " ".join(f"{name}={shlex.quote(unmasked(redact(uri)))}" for name, uri in variables.items())
