"""``promote``: register a sweep's winner."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.predict import place_options
from orchestrator.cli.screen import Json, Screen
from orchestrator.cli.stores import SweepName, logs_folder
from orchestrator.core.environment import program

if TYPE_CHECKING:
    from orchestrator.promotion.promote import Promotion

Trial = Annotated[int | None, typer.Option(min=0, help="This trial; the best of those kept if absent.")]
Retrain = Annotated[
    bool, typer.Option("--retrain", help="Train the trial again, same settings and seed, if its adapter was not kept.")
]


def promote(
    name: SweepName,
    trial: Trial = None,
    model: Annotated[
        str | None, typer.Option("--as", metavar="MODEL", help="Registered model; the sweep's name.")
    ] = None,
    alias: Annotated[str, typer.Option(help="Alias that will point to the new version; '' for none.")] = "champion",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a trial that does not pass the gates.")] = False,
    retrain: Retrain = False,
    as_json: Json = False,
) -> None:
    """Register a trial's adapter as a model version, after a look at the gates, and point the alias to it."""
    from orchestrator.cli.stored import Stored
    from orchestrator.promotion.gates import Gates
    from orchestrator.promotion.promote import PromotionRequest
    from orchestrator.promotion.promote import promote as register

    screen = Screen(as_json=as_json)
    stored = Stored.find(name)
    request = PromotionRequest(
        name=model or stored.sweep.name, metric=stored.metric, alias=alias or None, gates=Gates(strict=strict)
    )
    with screen.quiet(logs_folder() / "promote.log"):
        candidate = stored.candidates().choose(trial, stored.retrain if retrain else None)
        done = register(stored.sweep, candidate, stored.location, request)
    _tell(screen, done, place_options(stored.location))


def _tell(screen: Screen, done: "Promotion", place: str) -> None:
    from rich.text import Text

    version, card = done.version, done.card
    signs = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}
    screen.show(Text(f"{version.reference} is trial {card.trial} of {card.sweep}, at {card.samples:,} samples", "bold"))
    for finding in done.findings:
        sign, style = signs[finding.passed]
        screen.show(Text.assemble((f"  {sign} {finding.gate}", style), f"  {finding.detail}"), soft_wrap=True)
    if any(finding.passed is False for finding in done.findings):
        screen.show(Text("  promoted all the same; --strict refuses what does not pass", "yellow"))
    aliases = ", ".join(version.aliases)
    if aliases:
        before = f" (was {done.previous.reference})" if done.previous else ""
        screen.show(f"alias {aliases}{before}")
    if done.previous:
        screen.show(Text(f"\nback to it: {program()} rollback {version.name}{place}", "dim"), soft_wrap=True)
    screen.show(Text(f'\n{program()} predict {version.name} "some text"{place}', "bold cyan"), soft_wrap=True)
    screen.emit(
        {
            "model": version.name,
            "version": version.version,
            "aliases": version.aliases,
            "trial": card.trial,
            "sweep": card.sweep,
            "metrics": card.metrics,
            "previous": None if done.previous is None else done.previous.reference,
            "gates": [asdict(finding) for finding in done.findings],
        }
    )
