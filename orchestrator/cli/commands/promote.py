"""``promote``: register a sweep's winner as a model version, if it passes the gates."""

import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json, Retrain, SweepName, Trial, registry_options
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.system.environment import program
from orchestrator.stores import logs_folder, stored_sweep, with_current_status

if TYPE_CHECKING:
    from orchestrator.core.sweeps.gates import Gates
    from orchestrator.preparation.stored_sweep import StoredSweep
    from orchestrator.promotion.candidates import Candidate
    from orchestrator.promotion.gates.rules import GateResult
    from orchestrator.promotion.promote import Promotion
    from orchestrator.tracking.registered.registry import Version


def promote(
    name: SweepName,
    trial: Trial = None,
    model: Annotated[
        str | None, typer.Option("--as", metavar="MODEL", help="Registered model's name. Default: the sweep's name.")
    ] = None,
    alias: Annotated[
        str, typer.Option(metavar="ALIAS", help="Alias to set on the new version; '' sets none.")
    ] = "champion",
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file with the section gates, in place of that of the sweep file."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse the trial if any gate fails.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote the trial even if a gate refuses it. Needs --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Reason for --force; stored with your login name in the version.")
    ] = None,
    retrain: Retrain = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the results of all gates; train, register and write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Register a trial's adapter as a version of a model and set an alias to it.

    The trial must pass the gates: better than the version in use on the same test rows, not worse than the sweep's
    best trial and the baseline, nothing memorised, no leaked test rows. The exit code of refuse and abstain is 3.
    """
    from orchestrator.promotion.gates.judge import GateRefusalError, PromotionRequest, admit
    from orchestrator.promotion.promote import promote as register

    screen = Screen(as_json=as_json)
    if force is not (reason is not None):
        raise UserError('--force needs --reason and --reason needs --force: --force --reason "WHY"')
    stored = _stored(name, force=force)
    request = PromotionRequest(
        name=stored.sweep.name if model is None else model,
        metric=stored.metric,
        alias=alias or None,
        gates=replace(_gates(stored, policy), strict=strict),
        forced=reason,
        ledger=stored.ledger,
        read_splits=stored.read_splits,
    )
    try:
        with screen.quiet(logs_folder() / "promote.log"):
            check = partial(admit, stored.sweep, stored.location, request)
            train = None if not retrain else (lambda _trial: Path()) if dry_run else stored.retrain
            candidate = stored.candidates().choose(trial, train, check)
            done = check(candidate) if dry_run else register(stored.sweep, candidate, stored.location, request)
    except GateRefusalError as refusal:
        show_judgement(screen, request.name, refusal.candidate, refusal.results, dry_run=dry_run)
        raise
    if isinstance(done, tuple):
        show_judgement(screen, request.name, candidate, done, dry_run=True)
    else:
        show_promotion(screen, done, registry_options(stored.location))


def _stored(name: str, *, force: bool) -> "StoredSweep":
    """Return the sweep.

    Raises:
        UserError: it runs or was interrupted, so its adapters have no test values yet, and ``force`` is not given.
    """
    stored = stored_sweep(name)
    status = with_current_status(stored.ledger, stored.sweep).status
    if force or status is SweepStatus.FINISHED:
        return stored
    running = status is SweepStatus.RUNNING
    remedy = "Wait for its end" if running else f"Resume it: {program()} sweep FILE"
    raise UserError(
        f"{stored.sweep.reference} {'is still running' if running else 'was interrupted'}: a better trial may follow, "
        f'and no adapter has test values. {remedy}; or add --force --reason "WHY" to promote its best trial so far.'
    )


def _gates(stored: "StoredSweep", policy: Path | None) -> "Gates":
    """Return the gates of a policy file, else of the sweep file."""
    if policy is None:
        return stored.gates()
    from orchestrator.spec.policy import load_policy

    return load_policy(policy)


def show_judgement(
    screen: Screen, model: str, candidate: "Candidate", results: "tuple[GateResult, ...]", *, dry_run: bool
) -> None:
    """Show the results of all gates on a candidate that was not registered."""
    card = candidate.card
    show_gates(screen, f"trial {card.trial} of {card.sweep}, at {card.samples:,} samples", results)
    if dry_run:
        screen.show("dry run: nothing was registered")
    screen.emit(
        {
            "model": model,
            "version": None,
            "aliases": (),
            "trial": card.trial,
            "sweep": card.sweep,
            "metrics": card.metrics,
            "previous": None,
            "dry_run": dry_run,
            **_results_json(results),
        }
    )


def show_gates(screen: Screen, title: str, results: "tuple[GateResult, ...]") -> None:
    """Show the rule, values and verdict of each gate, under a title, and the verdict of all gates."""
    from rich.text import Text

    from orchestrator.promotion.gates.rules import verdict_text

    marks = {True: ("✓", "green"), False: ("!", "yellow"), None: ("–", "dim")}
    screen.show(Text(title, "bold"))
    width = max((len(result.gate) for result in results), default=0)
    for result in results:
        mark, style = ("✗", "red") if result.refuses else marks[result.passed]
        verdict = "warning" if result.passed is False and not result.refuses else result.verdict.value
        line = Text.assemble((f"  {mark} {result.gate:<{width}}  {verdict:<7}", style), f"  {result.detail}")
        screen.show(line, soft_wrap=True)
        if result.rule:
            screen.show(Text(f"    {'':<{width}}  {'':<7}  rule: {result.rule}", "dim"), soft_wrap=True)
    screen.show(Text(verdict_text(results), "bold"), soft_wrap=True)


def show_promotion(screen: Screen, done: "Promotion", options: str) -> None:
    """Show a promotion: its gates, its aliases, and the commands to undo it and to use it.

    ``options`` follow each command and name the registry.
    """
    from rich.text import Text

    from orchestrator.report.summary import predict_inputs

    version, card = done.version, done.card
    title = f"{version.reference} is trial {card.trial} of {card.sweep}, at {card.samples:,} samples"
    show_gates(screen, title, done.gates)
    note = _note(version, done.gates)
    if note:
        screen.show(Text(note, "yellow"), soft_wrap=True)
    aliases = ", ".join(version.aliases)
    if aliases:
        before = f" (was {done.previous.reference})" if done.previous else ""
        screen.show(f"alias {aliases}{before}")
    if done.previous:
        screen.show(Text(f"\nundo: {program()} rollback {shlex.quote(version.name)}{options}", "dim"), soft_wrap=True)
    use = f"{program()} predict {shlex.quote(version.name)} {predict_inputs(card.pair_column)}{options}"
    if card.is_function:
        use = f'mlflow.pyfunc.load_model("models:/{version.reference}")'
    screen.show(Text(f"\n{use}", "bold cyan"), soft_wrap=True)
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
            "dry_run": False,
            **_results_json(done.gates),
        }
    )


def _results_json(results: "tuple[GateResult, ...]") -> "dict[str, object]":
    """Return the verdict of all gates together, and the result of each."""
    from orchestrator.promotion.gates.rules import overall

    return {"verdict": overall(results).value, "gates": [result.to_json() for result in results]}


def _note(version: "Version", gates: "tuple[GateResult, ...]") -> str:
    """Return the reason of a forced promotion, or how to refuse trials with warnings; "" without either."""
    from orchestrator.promotion.promote import FORCED_BY_TAG, FORCED_REASON_TAG

    if FORCED_REASON_TAG in version.tags:
        return f"promoted with --force by {version.tags[FORCED_BY_TAG]}: {version.tags[FORCED_REASON_TAG]}"
    return "promoted with warnings; --strict refuses such trials" if any(g.passed is False for g in gates) else ""
