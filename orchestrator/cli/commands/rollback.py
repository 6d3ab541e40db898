"""``rollback``: point an alias back to the version before."""

from typing import Annotated

import typer

from orchestrator.cli.options import Json, RegistryUri, TrackingUri, registry_location
from orchestrator.cli.screen import Screen
from orchestrator.stores import logs_folder


def rollback(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The registered model.")],
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "champion",
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Point the alias back to the version that had it before the last promotion."""
    from orchestrator.promotion.promote import rollback as move_back

    screen = Screen(as_json=as_json)
    with screen.quiet(logs_folder() / "rollback.log"):
        left, back = move_back(model, alias, registry_location(tracking_uri, registry_uri))
    screen.show(f"{model}@{alias} is {back.reference} again (was {left.reference})")
    screen.emit({"model": model, "alias": alias, "version": back.version, "left": left.version})
