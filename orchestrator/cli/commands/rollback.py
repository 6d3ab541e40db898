"""``rollback``: set an alias back to the previous version."""

from typing import Annotated

import typer

from orchestrator.cli.options import Json, RegistryUri, TrackingUri, existing_registry
from orchestrator.cli.screen import Screen
from orchestrator.stores import logs_folder


def rollback(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Registered model.")],
    alias: Annotated[str, typer.Option(metavar="ALIAS", help="Alias to move.")] = "champion",
    to: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Version that gets the alias. Default: the previous one."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for `registry history`.")] = "",
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Set an alias back to the version before its last move. A second rollback undoes the first."""
    from orchestrator.promotion.promote import rollback as move_back

    screen = Screen(as_json=as_json)
    with screen.quiet(logs_folder() / "rollback.log"):
        replaced, restored = move_back(model, alias, existing_registry(tracking_uri, registry_uri), to, reason)
    screen.show(f"{model}@{alias} is {restored.reference} again (was {replaced.reference})")
    screen.emit({"model": model, "alias": alias, "version": restored.version, "left": replaced.version})
