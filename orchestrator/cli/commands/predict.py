"""``predict``: use a promoted model."""

import io
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json, RegistryUri, TrackingUri, registry_location
from orchestrator.cli.screen import Screen
from orchestrator.cli.stores import logs_folder
from orchestrator.core.environment import program
from orchestrator.core.errors import UserError

if TYPE_CHECKING:
    from orchestrator.serving.predictor import Prediction
    from orchestrator.serving.tables import Table


def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME, NAME@alias, NAME/version or an exported folder.")
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; lines of stdin if absent.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Rows to predict: csv, tsv, json, jsonl or parquet.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The file's column of texts; 'text', or the only one.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the file's rows and answers there.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at once.")] = 32,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Predict with a registered model or an exported folder: one answer for each text, line or row.

    A blank line, or a row without text, has an empty answer, so that answers stay in line with what was given.
    """
    from orchestrator.serving.predictor import Predictor
    from orchestrator.serving.tables import write_rows

    screen = Screen(as_json=as_json)
    inputs, table = _inputs(texts or [], file, column, output)
    with screen.quiet(logs_folder() / "predict.log"):
        predictor = Predictor.load(model, registry_location(tracking_uri, registry_uri))
        predictions = predictor.predict(inputs, batch_size)
    if table is not None and output is not None:
        write_rows(output, table, _columns(predictions))
        screen.say(f"{output}: {len(predictions)} rows with their answers")
    else:
        _tell(screen, predictions)
    without = sum(item.answer is None for item in predictions)
    if without:
        screen.err.print(f"{without} of {len(predictions)} texts are blank and have no answer", markup=False)
    screen.emit(
        {
            "model": predictor.reference,
            "predictions": [{**asdict(item), "score": item.score} for item in predictions],
        }
    )


def _inputs(
    texts: list[str], file: Path | None, column: str | None, output: Path | None
) -> "tuple[list[str], Table | None]":
    """Return the texts, and the table that they come from if it is a file."""
    from orchestrator.serving.tables import check_output, read_rows

    if file is None and (column is not None or output is not None):
        raise UserError(f"{'--output' if column is None else '--column'} goes with --file")
    if file is not None and texts:
        raise UserError(f"give texts or --file, not both; got --file {file} and {texts[0]!r:.60}")
    table = None
    if file is not None:
        if output is not None:
            check_output(output)
        table = read_rows(file)
        texts = table.texts(column)
    elif texts:
        for number, text in enumerate(texts, start=1):
            _check_argument(number, text)
    else:
        texts = _lines()
    if table is not None and not any(map(str.strip, texts)):
        raise UserError(f"{table.name}: no row has a text in its column; --column names another one")
    if not any(text.strip() for text in texts):
        raise UserError(f'a text is needed: {program()} predict MODEL "some text", or lines on stdin')
    for number, text in enumerate(texts, start=1):
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            raise UserError(f"text {number} is not UTF-8: {text!r:.60}")
    return texts, table


def _check_argument(number: int, text: str) -> None:
    """Raise ``UserError`` if a text of the command line is blank, or is the name of a file of rows."""
    from orchestrator.serving.tables import EXTENSIONS

    if not text.strip():
        raise UserError(f"text {number} is blank; give a text, or lines on stdin, where a blank line has no answer")
    try:
        there = Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        there = False
    rows = Path(text).suffix.lower() in EXTENSIONS
    if rows and (there or not any(map(str.isspace, text))):
        raise UserError(f"{text} names a file; to predict its rows: {program()} predict MODEL --file {text}")
    if there and ("/" in text or Path(text).suffix):
        raise UserError(f"{text} names a file; to predict its lines: {program()} predict MODEL < {text}")


def _lines() -> list[str]:
    """Return the lines of standard input, without what ends them."""
    if sys.stdin.isatty():
        sys.stderr.write("one text per line, Ctrl-D to end:\n")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(newline="\n")  # a carriage return within a line ends no line
    try:
        whole = sys.stdin.read()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"stdin is not UTF-8 (line {line}, byte 0x{error.object[error.start]:02x})") from error
    lines = whole.removeprefix("\ufeff").split("\n")
    return [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]


def _columns(predictions: "list[Prediction]") -> dict[str, list[str | float | None]]:
    """Return the columns that a file of rows is given; a model that writes has no scores."""
    columns: dict[str, list[str | float | None]] = {"answer": [item.answer for item in predictions]}
    if any(item.probabilities for item in predictions):
        columns["score"] = [item.score for item in predictions]
    return columns


def _tell(screen: Screen, predictions: "list[Prediction]") -> None:
    """Show a table on a terminal; elsewhere one line each, with tabs between answer, score and text."""
    from rich.table import Table as Grid
    from rich.text import Text

    if screen.as_json:
        return
    if not screen.out.is_terminal:
        for item in predictions:
            cells = [""] if item.answer is None else [item.answer, *_score(item), item.text]
            # Past the console, which would write spaces for tabs.
            screen.out.file.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")
        return
    table = Grid.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for item in predictions:
        if item.answer is None:
            table.add_row(Text("–", style="dim"), "", Text("blank", style="dim"))
        # Without probabilities the answer is generated text, which may be long: the input is shown first, dim.
        elif item.score is None:
            table.add_row("", "", Text.assemble((item.text + "\n", "dim"), item.answer))
        else:
            table.add_row(Text(item.answer, style="bold"), *_score(item), Text(item.text, style="dim"))
    screen.show(table)


def _score(item: "Prediction") -> list[str]:
    return [] if item.score is None else [f"{item.score:.3f}"]
