"""``promote``: register a sweep's winner."""

import shlex
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json, Retrain, SweepName, Trial, registry_options
from orchestrator.cli.screen import Screen
from orchestrator.cli.stores import logs_folder
from orchestrator.core.environment import program
from orchestrator.core.errors import UserError

if TYPE_CHECKING:
    from orchestrator.promotion.promote import Promotion
    from orchestrator.tracking.registry import Version


def promote(
    name: SweepName,
    trial: Trial = None,
    model: Annotated[
        str | None, typer.Option("--as", metavar="MODEL", help="Registered model; the sweep's name.")
    ] = None,
    alias: Annotated[str, typer.Option(help="Alias that will point to the new version; '' for none.")] = "champion",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a trial that does not pass the gates.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote a trial that the gates refuse; needs --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; kept with your login name on the version.")
    ] = None,
    retrain: Retrain = False,
    as_json: Json = False,
) -> None:
    """Register a trial's adapter as a model version, and point the alias to it.

    A trial that is worse than the sweep's best, than the version in use or than the baseline is refused.
    """
    from orchestrator.cli.stored import Stored
    from orchestrator.promotion.gates import Gates
    from orchestrator.promotion.promote import PromotionRequest, judge
    from orchestrator.promotion.promote import promote as register

    screen = Screen(as_json=as_json)
    if force is not (reason is not None):
        raise UserError('--force and --reason go together: --force --reason "WHY" promotes what the gates refuse')
    stored = Stored.find(name)
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
    _tell(screen, done, registry_options(stored.location))


def _tell(screen: Screen, done: "Promotion", place: str) -> None:
    from rich.text import Text

    version, card = done.version, done.card
    signs = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}
    screen.show(Text(f"{version.reference} is trial {card.trial} of {card.sweep}, at {card.samples:,} samples", "bold"))
    for finding in done.gates:
        sign, style = signs[finding.passed]
        screen.show(Text.assemble((f"  {sign} {finding.gate}", style), f"  {finding.detail}"), soft_wrap=True)
    if any(finding.passed is False for finding in done.gates):
        screen.show(Text(f"  promoted anyway{_why(version)}", "yellow"), soft_wrap=True)
    aliases = ", ".join(version.aliases)
    if aliases:
        before = f" (was {done.previous.reference})" if done.previous else ""
        screen.show(f"alias {aliases}{before}")
    if done.previous:
        screen.show(
            Text(f"\nback to it: {program()} rollback {shlex.quote(version.name)}{place}", "dim"), soft_wrap=True
        )
    screen.show(
        Text(f'\n{program()} predict {shlex.quote(version.name)} "some text"{place}', "bold cyan"), soft_wrap=True
    )
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


def _why(version: "Version") -> str:
    from orchestrator.promotion.promote import FORCED_BY_TAG, FORCED_REASON_TAG

    if FORCED_REASON_TAG not in version.tags:
        return "; --strict refuses what does not pass"
    return f", forced by {version.tags[FORCED_BY_TAG]}: {version.tags[FORCED_REASON_TAG]}"
