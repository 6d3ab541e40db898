"""``validate``: check sweep files, nothing more."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.screen import Json, Screen
from orchestrator.cli.stores import read_spec
from orchestrator.core.errors import SpecError


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Sweep files.")],
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override a value; may be repeated.")
    ] = None,
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Import an objective's .py file, which runs it, and check it whole.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check sweep files: every error at once, with its line. Exit code 2 if there is one.

    An objective's file is read, not run; what only its code tells is checked by --run-code, or when the sweep starts.
    """
    screen = Screen(as_json=as_json)
    results: list[dict[str, object]] = []
    for file in files:
        try:
            spec = read_spec(file, override or (), run_code=run_code)
        except SpecError as error:
            problems = str(error).splitlines()
            typer.echo("\n".join(problems), err=True)
            results.append({"file": str(file), "valid": False, "errors": problems})
        else:
            searched = len(spec.space.searched)
            if not as_json:
                typer.echo(f"{file}: valid ({spec.name}: {searched} searched settings, sampler {spec.sampler.name})")
            for warning in spec.warnings:
                typer.echo(f"warning: {warning}", err=True)
            told = {"name": spec.name, "warnings": list(spec.warnings)}
            results.append({"file": str(file), "valid": True, "errors": [], **told})
    screen.emit(results)
    if not all(result["valid"] for result in results):
        raise typer.Exit(2)
