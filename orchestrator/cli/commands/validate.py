"""``validate``: check sweep files and, with ``--data``, their rows. Nothing is trained."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import Json, Overrides
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import LoratoryError, SpecError
from orchestrator.stores import read_spec

if TYPE_CHECKING:
    from orchestrator.spec.sweep_spec import SweepSpec


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Sweep files.")],
    override: Overrides = None,
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Import an objective's .py file for a full check. This runs its code.")
    ] = False,
    data: Annotated[
        bool,
        typer.Option(
            "--data",
            help="Read the data; count rows by split and label, and truncated rows. This runs the objective's code.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check sweep files and print all errors with their lines. The exit code is 2 if there is an error.

    An objective's .py file is parsed but not run. Use --run-code for a full check.
    """
    screen = Screen(as_json=as_json)
    results: list[dict[str, object]] = []
    for file in files:
        try:
            spec = read_spec(file, override or (), run_code=run_code or data)
            lines, data_document = _read_data(spec) if data else ([], {})
        except SpecError as error:
            problems = str(error).splitlines()
        except LoratoryError as error:
            problems = [f"{file}: {error}"]  # from reading the data
        else:
            if not as_json:
                searched = len(spec.space.searched)
                typer.echo(f"{file}: valid ({spec.name}: {searched} searched parameters, sampler {spec.sampler.name})")
            for warning in spec.warnings:
                typer.echo(f"warning: {warning}", err=True)
            _show(screen, lines)
            facts = {"name": spec.name, "warnings": list(spec.warnings)}
            results.append({"file": str(file), "valid": True, "errors": [], **facts, **data_document})
            continue
        typer.echo("\n".join(problems), err=True)
        results.append({"file": str(file), "valid": False, "errors": problems})
    screen.emit(results)
    if not all(result["valid"] for result in results):
        raise typer.Exit(2)


def _show(screen: Screen, lines: list[tuple[str, str]]) -> None:
    """Show named lines as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 3))
    for name, line in lines:
        table.add_row(Text(f"  {name}", style="dim"), Text(line))
    if lines:
        screen.show(table)


def _read_data(spec: "SweepSpec") -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Read a sweep's data; return its summary as named lines and as plain values.

    Truncated rows are counted only if the model is already on this machine. Nothing is downloaded.

    Raises:
        LoratoryError: the data is missing or breaks a rule, or ``data.max_length`` is too short for the task.
    """
    from orchestrator.assets.models import is_on_this_machine
    from orchestrator.objective.loading import load_objective, with_classes
    from orchestrator.objective.truncation import tokenizer_of
    from orchestrator.preparation.rows import (
        row_counts,
        shortest_max_length,
        with_language_warning,
        with_near_copies,
        with_row_counts,
    )
    from orchestrator.report.data_text import data_lines

    objective = load_objective(spec.objective, (), spec.data.chat_template, spec.data.prompt)
    splits, _ = with_near_copies(with_language_warning(objective.splits(spec.data), spec.model))
    objective = with_classes(objective, splits.summary.classes)
    is_local = is_on_this_machine(spec.model)
    summary = with_row_counts(spec, objective, splits).summary if is_local else splits.summary
    if is_local:  # an objective refuses a max_length that is too short for its rows
        tokenizer = tokenizer_of(spec.model, objective.head)
        objective.encode(splits.train.select(range(1)), tokenizer, shortest_max_length(spec))
    rows = row_counts(splits)
    lines = [*data_lines(rows, summary)]
    if not is_local:
        lines.append(("truncated", f"not counted: the model {spec.model} is not on this machine"))
    return lines, {"rows": rows, "data_summary": asdict(summary)}
