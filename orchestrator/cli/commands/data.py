"""``data``: show the rows that a sweep would train on. Nothing is trained or stored."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.columns import found_columns
from orchestrator.cli.options import Json, Overrides
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import DataError
from orchestrator.stores import read_spec, spec_of_data

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.objective.splits import NearCopy
    from orchestrator.preparation.data_view import DataView
    from orchestrator.spec.sweep_spec import SweepSpec

_SWEEP_FILES = {".yaml", ".yml"}
_PAIRS = 3
"""Near-duplicates shown on the screen; ``--json`` has all of them."""


def data(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Sweep file, or data as in the key data.source.")],
    override: Overrides = None,
    objective: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Objective of the rows. Default: the sweep file's, or classification."),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, max=1000, metavar="N", help="Training rows to show.")] = 3,
    as_json: Json = False,
) -> None:
    """Show the rows of a sweep: counts by split and class, lengths in tokens, rows left out, near-duplicates, examples.

    This runs the objective's code. Lengths are counted if the base model is on this machine. In a data file
    the columns are found as `init` finds them; --set data.columns.text=COLUMN names another.
    """
    from dataclasses import asdict

    from orchestrator.objective.loading import load_objective
    from orchestrator.preparation.data_view import data_view

    screen = Screen(as_json=as_json)
    try:
        spec = _spec(screen, file, objective, override or [])
        for warning in spec.warnings:
            typer.echo(f"warning: {warning}", err=True)
        view = data_view(spec, load_objective(spec.objective, (), spec.data.chat_template, spec.data.prompt), examples)
    except DataError as error:
        if _is_sweep_file(file) or not str(error).startswith("data.columns"):
            raise
        raise DataError(f"{error} Without a sweep file, add --set 'data.columns.NAME=COLUMN'.") from error
    for table in _tables(view):
        screen.show(table)
    screen.emit({"file": file, **asdict(view)})


def _spec(screen: Screen, file: str, objective: str | None, overrides: list[str]) -> "SweepSpec":
    """Return the sweep file, or a sweep over a data file. Columns without an override are guessed, as in ``init``."""
    if _is_sweep_file(file):
        given = [] if objective is None else [f"objective={objective}"]
        return read_spec(Path(file), [*given, *overrides])
    task = objective or "classification"
    pairs = [override.partition("=") for override in overrides]
    if any(key == "data.columns" for key, _, _ in pairs):
        return spec_of_data(file, task, overrides)
    named = {key.removeprefix("data.columns."): column for key, _, column in pairs if key.startswith("data.columns.")}
    columns = found_columns(screen, task, file, named, "--set data.columns.{name}=COLUMN")
    return spec_of_data(
        file, task, [*(f"data.columns.{name}={column}" for name, column in columns.items()), *overrides]
    )


def _is_sweep_file(file: str) -> bool:
    return Path(file).suffix.lower() in _SWEEP_FILES


def _tables(view: "DataView") -> "list[Table]":
    from rich.table import Table
    from rich.text import Text

    from orchestrator.report import words
    from orchestrator.report.data_text import data_lines

    head = Table.grid(padding=(0, 3))
    for name, line in [("source", view.source), *data_lines(view.rows, view.data_summary)]:
        head.add_row(Text(f"  {name}", style="dim"), Text(line))
    lengths = Table(title=f"length in tokens of {view.model} (max_length {view.max_length:,})", title_justify="left")
    for name in ("split", "rows measured", "shortest", "median", "90 %", "99 %", "longest"):
        lengths.add_column(name, justify="left" if name == "split" else "right")
    for split, values in view.lengths.items():
        numbers = (values.rows, values.shortest, values.median, values.p90, values.p99, values.longest)
        lengths.add_row(split, *map(words.count, numbers))
    if not view.lengths:
        head.add_row(Text("  lengths", style="dim"), f"not counted: the model {view.model} is not on this machine")
    tables = [head, *([lengths] if view.lengths else [])]
    if view.near_copies:
        tables.append(_rows("near-duplicates", [_pair(pair) for pair in view.near_copies[:_PAIRS]]))
    if view.examples:
        tables.append(_rows("training rows", [[(name, str(v)) for name, v in row.items()] for row in view.examples]))
    return tables


def _pair(pair: "NearCopy") -> list[tuple[str, str]]:
    return [
        (f"{pair.split} {pair.row + 1}", pair.text),
        (f"{pair.other_split} {pair.other_row + 1}", pair.other_text),
        ("similarity", f"{pair.similarity:.2f}"),
    ]


def _rows(title: str, rows: list[list[tuple[str, str]]]) -> "Table":
    """Return a table with one section for each row of the data: a name and a short value in a line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_header=False)
    for row in rows:
        for name, value in row:
            table.add_row(Text(name, style="dim"), Text(" ".join(value.split())[:200]))
        table.add_section()
    return table
