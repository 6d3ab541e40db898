"""``promote``: register a sweep's winner as a model version."""

import shlex
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json, Retrain, SweepName, Trial, registry_options
from orchestrator.cli.screen import Screen
from orchestrator.core.environment import program
from orchestrator.core.errors import UserError
from orchestrator.stores import logs_folder, stored_sweep

if TYPE_CHECKING:
    from orchestrator.promotion.promote import Promotion
    from orchestrator.tracking.registry import Version


def promote(
    name: SweepName,
    trial: Trial = None,
    model: Annotated[
        str | None, typer.Option("--as", metavar="MODEL", help="Registered model's name. Default: the sweep's name.")
    ] = None,
    alias: Annotated[
        str, typer.Option(metavar="ALIAS", help="Alias to set on the new version; '' sets none.")
    ] = "champion",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse the trial if any gate fails.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote the trial even if a gate refuses it. Needs --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Reason for --force; stored with your login name in the version.")
    ] = None,
    retrain: Retrain = False,
    as_json: Json = False,
) -> None:
    """Register a trial's adapter as a version of a model and set an alias to it.

    The gates refuse a trial worse than the sweep's best trial, the version in use, or the baseline.
    """
    from orchestrator.promotion.gates import Gates
    from orchestrator.promotion.promote import PromotionRequest, judge
    from orchestrator.promotion.promote import promote as register

    screen = Screen(as_json=as_json)
    if force is not (reason is not None):
        raise UserError('--force needs --reason and --reason needs --force: --force --reason "WHY"')
    stored = stored_sweep(name)
    request = PromotionRequest(
        name=stored.sweep.name if model is None else model,
        metric=stored.metric,
        alias=alias or None,
        gates=Gates(strict=strict),
        forced=reason,
    )
    with screen.quiet(logs_folder() / "promote.log"):
        admit = partial(judge, stored.sweep, stored.location, request)
        candidate = stored.candidates().choose(trial, stored.retrain if retrain else None, admit)
        done = register(stored.sweep, candidate, stored.location, request)
    show_promotion(screen, done, registry_options(stored.location))


def show_promotion(screen: Screen, done: "Promotion", options: str) -> None:
    """Show a promotion: its gates, its aliases, and the commands to undo it and to use it.

    ``options`` follow each command and name the registry.
    """
    from rich.text import Text

    version, card = done.version, done.card
    marks = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}
    screen.show(Text(f"{version.reference} is trial {card.trial} of {card.sweep}, at {card.samples:,} samples", "bold"))
    width = max((len(result.gate) for result in done.gates), default=0)
    for result in done.gates:
        mark, style = marks[result.passed]
        screen.show(Text.assemble((f"  {mark} {result.gate:<{width}}", style), f"  {result.detail}"), soft_wrap=True)
    if any(result.passed is False for result in done.gates):
        screen.show(Text(f"  {_failed_gates_note(version)}", "yellow"), soft_wrap=True)
    aliases = ", ".join(version.aliases)
    if aliases:
        before = f" (was {done.previous.reference})" if done.previous else ""
        screen.show(f"alias {aliases}{before}")
    if done.previous:
        screen.show(Text(f"\nundo: {program()} rollback {shlex.quote(version.name)}{options}", "dim"), soft_wrap=True)
    screen.show(
        Text(f'\n{program()} predict {shlex.quote(version.name)} "some text"{options}', "bold cyan"), soft_wrap=True
    )
    screen.show(Text(f"{program()} registry show {shlex.quote(version.name)}{options}", "cyan"), soft_wrap=True)
    screen.emit(
        {
            "model": version.name,
            "version": version.version,
            "aliases": version.aliases,
            "trial": card.trial,
            "sweep": card.sweep,
            "metrics": card.metrics,
            "previous": None if done.previous is None else done.previous.reference,
            "gates": [asdict(result) for result in done.gates],
        }
    )


def _failed_gates_note(version: "Version") -> str:
    """Return why a version was registered although a gate failed."""
    from orchestrator.promotion.promote import FORCED_BY_TAG, FORCED_REASON_TAG

    if FORCED_REASON_TAG not in version.tags:
        return "promoted although a gate failed; --strict refuses such trials"
    return f"promoted with --force by {version.tags[FORCED_BY_TAG]}: {version.tags[FORCED_REASON_TAG]}"
