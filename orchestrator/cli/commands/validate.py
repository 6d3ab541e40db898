"""``validate``: check sweep files, and with ``--data`` the rows that they name; nothing is trained."""

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
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Sweep files.")],
    override: Overrides = None,
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Import an objective's .py file, which runs it, and check it whole.")
    ] = False,
    data: Annotated[
        bool,
        typer.Option(
            "--data",
            help="Read the data too, which runs the objective: rows by split and label, what is cut.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check sweep files: every error at once, with its line. Exit code 2 if there is one.

    An objective's file is read, not run; what only its code tells is checked by --run-code, or when the sweep starts.
    """
    screen = Screen(as_json=as_json)
    results: list[dict[str, object]] = []
    for file in files:
        found: dict[str, Any] = {}
        try:
            spec = read_spec(file, override or (), run_code=run_code or data)
            if not as_json:
                searched = len(spec.space.searched)
                typer.echo(f"{file}: valid ({spec.name}: {searched} searched settings, sampler {spec.sampler.name})")
            for warning in spec.warnings:
                typer.echo(f"warning: {warning}", err=True)
            if data:
                found = _read_data(screen, spec)
        except SpecError as error:
            problems = str(error).splitlines()
        except LoratoryError as error:
            problems = [f"{file}: {error}"]  # of the data, which ``--data`` reads
        else:
            told = {"name": spec.name, "warnings": list(spec.warnings)}
            results.append({"file": str(file), "valid": True, "errors": [], **told, **found})
            continue
        typer.echo("\n".join(problems), err=True)
        results.append({"file": str(file), "valid": False, "errors": problems})
    screen.emit(results)
    if not all(result["valid"] for result in results):
        raise typer.Exit(2)


def _read_data(screen: Screen, spec: "SweepSpec") -> dict[str, Any]:
    """Read a sweep's data, show its summary and return it for JSON.

    Tokens are counted if the model is on this machine: checking rows downloads no model.

    Raises:
        LoratoryError: the data cannot be had, or breaks a rule.
    """
    from rich.table import Table
    from rich.text import Text

    from orchestrator.assets.fetch import asset_path
    from orchestrator.core.data import Origin
    from orchestrator.objective.loading import load_objective
    from orchestrator.preparation.rows import counted, row_counts
    from orchestrator.report.data_text import data_lines

    objective = load_objective(spec.objective)
    splits = objective.splits(spec.data)
    here = spec.model.origin is Origin.LOCAL or (
        spec.model.origin is Origin.PACKAGED and asset_path(spec.model.name) is not None
    )
    summary = counted(spec, objective, splits).summary if here else splits.summary
    rows = row_counts(splits)
    table = Table.grid(padding=(0, 3))
    for name, line in data_lines(rows, summary):
        table.add_row(Text(f"  {name}", style="dim"), Text(line))
    if not here:
        table.add_row(Text("  cut", style="dim"), f"not counted: the model {spec.model} is not on this machine")
    screen.show(table)
    return {"rows": rows, "data_summary": asdict(summary)}
