"""``registry``: list registered models, show, compare and export versions, and show the history of aliases."""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from orchestrator.cli.options import (
    Json,
    RegistryUri,
    TrackingUri,
    existing_registry,
    mlflow_variables,
    registry_options,
)
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import FULL
from orchestrator.core.sweeps.plan import Precision, WeightFormat
from orchestrator.core.system.environment import program
from orchestrator.stores import existing_ledger, logs_folder

if TYPE_CHECKING:
    from orchestrator.promotion.pairs import PairedGain
    from orchestrator.tracking.location import Location
    from orchestrator.tracking.logged_models.adapters import AdapterCard
    from orchestrator.tracking.registered.alias_history import AliasMove
    from orchestrator.tracking.registered.comparison import Comparison
    from orchestrator.tracking.registered.lineage import Lineage
    from orchestrator.tracking.registered.registry import Version

LEVEL = 0.05
"""Largest p-value for two versions that differ."""

Model = Annotated[str, typer.Argument(metavar="MODEL", help="NAME (its champion), NAME@alias or NAME/version.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Registered model.")]


def list_models(tracking_uri: TrackingUri = None, registry_uri: RegistryUri = None, as_json: Json = False) -> None:
    """List the registered models with their versions and aliases."""
    from orchestrator.tracking.registered.registry import Registry, registry_errors

    screen = Screen(as_json=as_json)
    location = existing_registry(tracking_uri, registry_uri)
    with screen.quiet(logs_folder() / "registry.log"), registry_errors(location):
        registry = Registry(location)
        models = {name: registry.versions(name) for name in registry.names()}
    if not models:
        screen.show(f"no model is registered; register a sweep's winner: {program()} promote NAME")
    rows = [(name, str(len(versions)), _aliases(versions), _day(versions)) for name, versions in models.items()]
    _table(screen, ("model", "versions", "aliases", "newest"), rows)
    screen.emit(
        [
            {
                "model": name,
                "versions": [item.version for item in versions],
                "aliases": {alias: item.version for item in versions for alias in item.aliases},
                "newest_at": versions[-1].created_at if versions else None,
            }
            for name, versions in models.items()
        ]
    )


def show(
    model: Model, tracking_uri: TrackingUri = None, registry_uri: RegistryUri = None, as_json: Json = False
) -> None:
    """Show a version: sweep, trial, seed, data, code, scores, gates, and the commands to load it."""
    from orchestrator.tracking.registered.lineage import gate_lines

    screen = Screen(as_json=as_json)
    location = existing_registry(tracking_uri, registry_uri)
    version, origin = _found(screen, location, model)
    commands = _commands(location, version)
    _show_version(screen, version, origin)
    screen.show("")
    for command in commands.values():
        screen.show(command, soft_wrap=True)
    card = origin.card
    screen.emit(
        {
            **_identity(version),
            "run_id": version.run_id,
            "model_id": version.model_id or None,
            "tags": version.tags,
            "gates": [asdict(item) for item in gate_lines(version)],
            "card": None if card is None else card.to_json(),
            "code": {"commit": origin.commit, "packages": origin.packages},
            "description": version.description,
            "commands": commands,
        }
    )


def compare(
    one: Annotated[str, typer.Argument(metavar="A", help="NAME, NAME@alias or NAME/version.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The version compared with it.")],
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Compare two versions: parameters, scores with intervals, data, and paired tests on the same test rows."""
    from orchestrator.promotion.pairs import paired_gains
    from orchestrator.tracking.registered.comparison import comparison
    from orchestrator.tracking.registered.registry import registry_errors

    screen = Screen(as_json=as_json)
    location = existing_registry(tracking_uri, registry_uri)
    versions, cards = [], []
    for reference in (one, other):
        version, origin = _found(screen, location, reference)
        if origin.card is None:
            raise UserError(f"{version.reference} does not come from an adapter logged by Loratory: it has no scores")
        versions.append(version)
        cards.append(origin.card)
    found = comparison(*cards)
    with screen.quiet(logs_folder() / "registry.log"), registry_errors(location):
        gains = paired_gains(versions[0], versions[1], location, existing_ledger())
    _show_comparison(screen, versions, found)
    _show_gains(screen, versions, gains)
    screen.emit(
        {
            "a": _identity(versions[0]),
            "b": _identity(versions[1]),
            **asdict(found),
            "paired": None if gains is None else [asdict(item) for item in gains],
        }
    )


def history(
    name: Name,
    alias: Annotated[str | None, typer.Option(metavar="ALIAS", help="Only this alias. Default: all.")] = None,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Show every move of a model's aliases: when, who, from which version to which, and why."""
    from orchestrator.tracking.registered.registry import Registry, registry_errors

    screen = Screen(as_json=as_json)
    location = existing_registry(tracking_uri, registry_uri)
    with screen.quiet(logs_folder() / "registry.log"), registry_errors(location):
        registry = Registry(location)
        aliases = registry.aliases_with_history(name) if alias is None else (alias,)
        moves = [(item, move) for item in aliases for move in registry.history(name, item)]
    if not moves:
        screen.show(f"{name} has no recorded move of {'an alias' if alias is None else f'the alias {alias}'}")
    rows = [
        (
            item,
            "unknown" if move.at is None else _time(move.at),
            move.by or "unknown",
            _step(move),
            move.action if move.done else f"{move.action}, killed",
            "; ".join(filter(None, (move.origin, move.reason))),
        )
        for item, move in moves
    ]
    _table(screen, ("alias", "time", "by", "version", "action", "from and why"), rows)
    screen.emit([{"alias": item, **asdict(move)} for item, move in moves])


def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Write the whole model, with the adapter merged into its weights.")
    ] = False,
    plain_scaling: Annotated[
        bool, typer.Option("--plain-scaling", help="Write rsLoRA's alpha for programs dividing it by the rank.")
    ] = False,
    gguf: Annotated[
        bool, typer.Option("--gguf", help="Add the adapter as a GGUF file for llama.cpp; with --merge the model.")
    ] = False,
    precision: Annotated[
        WeightFormat, typer.Option("--precision", help="Number format of the weights, with --merge.")
    ] = Precision.FLOAT32,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Write a version as a plain PEFT folder, with --merge for plain transformers, with --gguf for llama.cpp.

    A model of full fine-tuning is always merged.
    """
    from orchestrator.assets.models import resolve_model
    from orchestrator.promotion.export.gguf_adapter import export_gguf
    from orchestrator.promotion.export.gguf_model import export_merged_gguf
    from orchestrator.promotion.export.merge import export_merged
    from orchestrator.promotion.export.peft_folder import export_folder, require_rank_scaling
    from orchestrator.tracking.logged_models.adapters import read_card
    from orchestrator.tracking.registered.lineage import gate_lines
    from orchestrator.tracking.registered.registry import ModelReference, Registry, registry_errors

    if merge and plain_scaling:
        raise UserError("--merge and --plain-scaling exclude each other: a merged model has no scaling")
    screen = Screen(as_json=as_json)
    location = existing_registry(tracking_uri, registry_uri)
    with screen.quiet(logs_folder() / "export.log"), registry_errors(location):
        registry = Registry(location)
        version = registry.get(ModelReference.parse(model))
        adapter = registry.download(version)
        card = read_card(adapter)
        _require_base(card, version, merge=merge, gguf=gguf)
        if plain_scaling:
            require_rank_scaling(adapter, card)
        card = card if card.is_function else replace(card, base_path=resolve_model(card.base))
        gates = gate_lines(version)
        merge = merge or card.method == FULL  # a whole model needs no base and no peft
        _check_precision(precision, card, version, merge=merge, gguf=gguf)
        if merge and gguf:
            export_merged_gguf(adapter, card, folder, gates)
        elif merge:
            export_merged(adapter, card, folder, gates, precision)
        elif gguf:
            export_gguf(adapter, card, folder, plain_scaling=plain_scaling, gates=gates)
        else:
            export_folder(adapter, card, folder, plain_scaling=plain_scaling, gates=gates)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    screen.show(f"{version.reference} written to {folder}: {', '.join(files)}", soft_wrap=True)
    screen.emit({**_identity(version), "folder": str(folder), "merged": merge, "files": files})


def _require_base(card: "AdapterCard", version: "Version", *, merge: bool, gguf: bool) -> None:
    """Raise ``UserError`` if an export needs a base model, and a function trained this version."""
    if card.is_function and (merge or gguf):
        option, missing = ("--merge", "base model to merge into") if merge else ("--gguf", "adapter of a base model")
        raise UserError(f"{option}: {version.reference} was trained by a function, so there is no {missing}")


def _check_precision(
    precision: WeightFormat, card: "AdapterCard", version: "Version", *, merge: bool, gguf: bool
) -> None:
    """Raise ``UserError`` if an export has no weights in the number format of ``--precision``."""
    from orchestrator.tracking.logged_models.runners import require_format

    require_format(card, precision, version.reference)
    if precision is not Precision.FLOAT32 and gguf:
        raise UserError(
            f"--precision {precision}: --gguf writes float32; leave out --precision, and use llama-quantize for a "
            "smaller file"
        )
    if precision is not Precision.FLOAT32 and not merge:
        raise UserError(
            f"--precision {precision} is for merged weights, and an adapter's folder has no base weights; add --merge, "
            "or leave out --precision"
        )


def make_registry(cls: type[TyperCommand]) -> typer.Typer:
    """Return the group of the commands on the registry, each of class ``cls``."""
    app = typer.Typer(no_args_is_help=True, help="Inspect the model registry and export its versions.")
    commands: dict[str, Callable[..., None]] = {
        "list": list_models,
        "show": show,
        "compare": compare,
        "history": history,
        "export": export,
    }
    for name, command in commands.items():
        app.command(name, cls=cls)(command)
    return app


def _found(screen: Screen, location: "Location", model: str) -> "tuple[Version, Lineage]":
    from orchestrator.tracking.registered.lineage import lineage
    from orchestrator.tracking.registered.registry import ModelReference, Registry, registry_errors

    with screen.quiet(logs_folder() / "registry.log"), registry_errors(location):
        version = Registry(location).get(ModelReference.parse(model))
        return version, lineage(location, version)


def _commands(location: "Location", version: "Version") -> dict[str, str]:
    """Return the commands to predict with a version and to serve it."""
    own = shlex.quote(f"{version.name}/{version.version}")
    uri = shlex.quote(f"models:/{version.name}/{version.version}")
    variables = mlflow_variables(location)
    return {
        "predict": f'{program()} predict {own} "some text"{registry_options(location)}',
        "serve": f"{variables} mlflow models serve --model-uri {uri} --env-manager local --port 5001",
    }


def _identity(version: "Version") -> dict[str, object]:
    return {
        "model": version.name,
        "version": version.version,
        "aliases": version.aliases,
        "created_at": version.created_at,
    }


def _show_version(screen: Screen, version: "Version", origin: "Lineage") -> None:
    """Show a version: its head line, its card as registered, and its code."""
    from rich.markdown import Markdown
    from rich.text import Text

    from orchestrator.tracking.cards.model_card import version_description
    from orchestrator.tracking.registered.lineage import gate_lines

    aliases = " ".join(f"@{alias}" for alias in version.aliases)
    when = "" if version.created_at is None else f", registered {_time(version.created_at)}"
    screen.show(Text(f"{version.reference} {aliases}".rstrip() + when, style="bold"))
    if origin.card is None:
        screen.show("It does not come from an adapter logged by Loratory.")
    else:
        screen.show(Markdown(version_description(origin.card, gate_lines(version), version.reference)))
    if origin.commit or origin.packages:
        packages = ", ".join(f"{name} {number}" for name, number in origin.packages.items())
        screen.show(f"code: commit {origin.commit or 'unknown'}; {packages or 'packages unknown'}", soft_wrap=True)
    else:
        screen.show("code: unknown, the run was deleted")
    screen.show(f"run {version.run_id or 'unknown'}, logged model {version.model_id or 'unknown'}", soft_wrap=True)


def _show_comparison(screen: Screen, versions: "list[Version]", found: "Comparison") -> None:
    from orchestrator.report import words

    heads = tuple(version.reference for version in versions)
    if found.params:
        rows = [(name, *map(words.param, values)) for name, values in found.params.items()]
        _table(screen, ("parameter", *heads), rows)
    _table(
        screen,
        ("metric", *heads, "difference", "rows"),
        [
            (
                item.metric,
                words.with_interval(item.a, item.interval_a),
                words.with_interval(item.b, item.interval_b),
                words.signed(item.difference),
                {True: "same", False: "other", None: "unknown"}[item.same_rows],
            )
            for item in found.metrics
            if item.metric != "samples_at_best"
        ],
    )
    for line in found.notes:
        screen.show(line, soft_wrap=True)


def _show_gains(screen: Screen, versions: "list[Version]", gains: "tuple[PairedGain, ...] | None") -> None:
    """Show one sentence for each paired test."""
    before, after = (version.reference for version in versions)
    if gains is None:
        screen.show("no paired test: the versions have no stored test rows in common", soft_wrap=True)
    for item in gains or ():
        verdict = "differ" if item.p <= LEVEL else "cannot be told apart"
        screen.show(
            f"{item.metric}, gain of {after} over {before}: {item.gain:+.4f} (95 % interval {item.low:+.4f} to "
            f"{item.high:+.4f}) on {item.rows:,} rows, p = {item.p:.2g}: they {verdict}",
            soft_wrap=True,
        )


def _aliases(versions: "tuple[Version, ...]") -> str:
    return ", ".join(f"{alias} {item.version}" for item in versions for alias in item.aliases)


def _day(versions: "tuple[Version, ...]") -> str:
    newest = versions[-1].created_at if versions else None
    return "" if newest is None else _time(newest)


def _step(move: "AliasMove") -> str:
    before, after = ("none" if number is None else str(number) for number in (move.previous, move.version))
    return f"{before} → {after}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _table(screen: Screen, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Show a table of texts; nothing without rows."""
    from rich.text import Text

    from orchestrator.report.fitting_table import plain_table

    if not rows:
        return
    table = plain_table()
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    screen.show(table)
