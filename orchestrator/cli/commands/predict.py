"""``predict``: predict with a promoted model or an exported folder."""

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import BasePrecision, Json, RegistryUri, TrackingUri, registry_location
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.plan import Precision
from orchestrator.core.system.environment import program
from orchestrator.stores import logs_folder

if TYPE_CHECKING:
    from orchestrator.serving.predictor import Prediction, Predictor
    from orchestrator.serving.tables import Table

SILENCE_S = 20.0
"""Seconds between two lines of progress, without a terminal."""
NewTokens = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Most tokens of a generated answer. Default: the adapter's own limit."),
]
Answers = Annotated[
    int | None,
    typer.Option(min=1, max=20, metavar="N", help="Most answers found in each context, for --json. Default: 5."),
]


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME, NAME@alias, NAME/version or exported folder.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Texts to predict. Default: the lines of stdin.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Rows to predict: csv, tsv, json, jsonl or parquet."),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Text column of the file. Default: 'text', the only column, or the model's."),
    ] = None,
    pair_column: Annotated[
        str | None,
        typer.Option("--pair-column", metavar="NAME", help="Column of the second texts. Default: the model's."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the rows and answers to this file.")
    ] = None,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Probabilities calibrated on the validation rows.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Texts per batch.")] = 32,
    max_new_tokens: NewTokens = None,
    answers: Answers = None,
    precision: BasePrecision = Precision.FLOAT32,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
    as_json: Json = False,
) -> None:
    """Predict with a registered model or an exported folder.

    Every text, line or row gets one answer, in the same order. A blank text gets an empty answer.
    """
    from orchestrator.serving.predictor import SHOWN, Predictor
    from orchestrator.serving.tables import write_rows

    screen = Screen(as_json=as_json)
    if file is None and pair_column is not None:
        raise UserError("--pair-column needs --file")
    inputs, table = _inputs(texts or [], file, column, output)
    with screen.quiet(logs_folder() / "predict.log"):
        location = registry_location(tracking_uri, registry_uri)
        predictor = Predictor.load(model, location, calibrated=calibrated, precision=precision)
        _check_options(predictor, max_new_tokens, answers)
        inputs, pairs = _by_model(predictor, table, inputs, pair_column)
        with _progress(screen, sum(bool(text.strip()) for text in inputs)) as progress:
            predictions = predictor.predict(inputs, batch_size, progress, pairs, max_new_tokens, answers or SHOWN)
    if table is not None and output is not None:
        write_rows(output, table, _columns(predictions))
        screen.say(f"{output}: {len(predictions)} rows written with answers")
    else:
        _show(screen, predictions)
    without = sum(item.answer is None for item in predictions)
    if without:
        verb = "is blank and has" if without == 1 else "are blank and have"
        screen.err.print(f"{without} of {len(predictions)} texts {verb} no answer", markup=False)
    _name_cut(screen, predictions, max_new_tokens or predictor.max_new_tokens)
    screen.emit({"model": predictor.reference, "predictions": [asdict(item) for item in predictions]})


def _check_options(predictor: "Predictor", max_new_tokens: int | None, answers: int | None) -> None:
    """Raise ``UserError`` for a limit of tokens or of answers that the model's task does not have."""
    if answers is not None and predictor.card.head != "question_answering":
        raise UserError(f"--answers: {predictor.reference} finds no answers in contexts; leave the option out")
    if max_new_tokens is not None and predictor.card.labels:
        raise UserError(f"--max-new-tokens: {predictor.reference} is a classifier; leave the option out")


def _name_cut(screen: Screen, predictions: "list[Prediction]", limit: int) -> None:
    """Show how many answers were ended by the limit of tokens."""
    cut = sum(item.cut is True for item in predictions)
    if cut:
        message = f"{cut} of {len(predictions)} answers are cut: no end within {limit} tokens. See --max-new-tokens"
        screen.err.print(message, markup=False)


@contextmanager
def _progress(screen: Screen, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the number of answered texts: a bar on a terminal, else a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    if screen.err.is_terminal:
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=screen.err, transient=True) as bar:
            task = bar.add_task("texts", total=total)
            yield lambda count: bar.update(task, completed=count)
        return
    shown = time.monotonic()

    def show(count: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= SILENCE_S and count < total:
            shown = time.monotonic()
            screen.err.print(f"{count:,} of {total:,} texts", markup=False)

    yield show


def _inputs(
    texts: list[str], file: Path | None, column: str | None, output: Path | None
) -> "tuple[list[str], Table | None]":
    """Return the texts to predict, and the table they come from, if any.

    There are no texts yet if the table has neither a named column, nor only one, nor a column ``text``.
    """
    from orchestrator.serving.tables import TEXT, check_output, read_rows

    if file is None and (column is not None or output is not None):
        raise UserError(f"{'--output' if column is None else '--column'} needs --file")
    if file is not None and texts:
        raise UserError(f"give texts or --file, not both; got --file {file} and {texts[0]!r:.60}")
    table = None
    if file is not None:
        if output is not None:
            check_output(output)
        table = read_rows(file)
        if column is None and len(table.columns) > 1 and TEXT not in table.columns:
            return [], table
        texts = table.texts(column)
    elif texts:
        for number, text in enumerate(texts, start=1):
            _check_argument(number, text)
    else:
        texts = _stdin_lines()
    _check_texts(texts, table)
    return texts, table


def _by_model(
    predictor: "Predictor", table: "Table | None", inputs: list[str], pair_column: str | None
) -> tuple[list[str], list[str] | None]:
    """Return the first and the second texts of the rows. Columns that no option names are the model's own."""
    if table is None:
        return inputs, None
    card = predictor.card
    if not inputs:
        inputs = table.texts(card.text_column)
        _check_texts(inputs, table)
    second = pair_column or (card.pair_column if card.pair_column in table.columns else None)
    return inputs, None if second is None else table.texts(second, "--pair-column")


def _check_texts(texts: list[str], table: "Table | None") -> None:
    """Raise ``UserError`` if all texts are blank, or if one is not UTF-8."""
    if table is not None and not any(map(str.strip, texts)):
        raise UserError(f"{table.name}: the text column is empty in every row; choose another with --column")
    if not any(text.strip() for text in texts):
        raise UserError(f'no text given: {program()} predict MODEL "some text", or lines on stdin')
    for number, text in enumerate(texts, start=1):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UserError(f"text {number} is not UTF-8: {text!r:.60}")


def _check_argument(number: int, text: str) -> None:
    """Raise ``UserError`` if a text argument is blank or names a file."""
    from orchestrator.serving.tables import EXTENSIONS

    if not text.strip():
        raise UserError(f"text {number} is blank (blank lines are accepted on stdin only)")
    try:
        is_file = Path(text).is_file()
    except (OSError, ValueError):  # not a valid file name
        is_file = False
    is_table_name = Path(text).suffix.lower() in EXTENSIONS
    if is_table_name and (is_file or not any(map(str.isspace, text))):
        raise UserError(f"{text} names a file; to predict its rows: {program()} predict MODEL --file {text}")
    if is_file and ("/" in text or Path(text).suffix):
        raise UserError(f"{text} names a file; to predict its lines: {program()} predict MODEL < {text}")


def _stdin_lines() -> list[str]:
    """Return the lines of standard input without their line ends."""
    if sys.stdin.isatty():
        sys.stderr.write("one text per line, Ctrl-D to end:\n")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(newline="\n")  # a carriage return alone does not end a line
    try:
        content = sys.stdin.read()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"stdin is not UTF-8 (line {line}, byte 0x{error.object[error.start]:02x})") from error
    lines = content.removeprefix("\ufeff").split("\n")
    return [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]


def _columns(predictions: "list[Prediction]") -> dict[str, list[str | float | None]]:
    """Return the columns to add to a table of rows: the answer, and its score.

    Several labels per text have a column ``probability/LABEL`` each instead, and numbers a column each. Generated text
    has a column ``cut``: whether the limit of tokens ended it. Answers in a context have the columns ``start`` and
    ``end``: their characters. Entities have a column ``entities``: JSON with their characters, types and scores.
    """
    columns: dict[str, list[str | float | None]] = {"answer": [item.answer for item in predictions]}
    if any(item.score is not None for item in predictions):
        columns["score"] = [item.score for item in predictions]
    else:
        labels = next((item.probabilities for item in predictions if item.probabilities), {})
        columns |= {f"probability/{name}": [item.probabilities.get(name) for item in predictions] for name in labels}
    if any(item.entities is not None for item in predictions):
        columns["entities"] = [
            None if item.entities is None else json.dumps([*item.entities], ensure_ascii=False) for item in predictions
        ]
    if any(item.cut is not None for item in predictions):
        columns["cut"] = [None if item.cut is None else str(item.cut).lower() for item in predictions]
    if any(item.answers for item in predictions):
        best = [item.answers[0] if item.answer else None for item in predictions]
        columns |= {name: [None if one is None else one[name] for one in best] for name in ("start", "end")}
    names = next((item.values for item in predictions if item.values), {})
    columns |= {name: [item.values.get(name) for item in predictions] for name in names}
    return columns


def _show(screen: Screen, predictions: "list[Prediction]") -> None:
    """Show a table on a terminal, else one line for each text: answer, score (if any) and text, with tabs between."""
    from rich.table import Table as Grid
    from rich.text import Text

    if screen.as_json:
        return
    if not screen.out.is_terminal:
        for item in predictions:
            cells = [""] if item.answer is None else [item.answer, *_score(item), item.text]
            # Written directly, because the console replaces tabs by spaces.
            screen.out.file.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")
        return
    table = Grid.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for item in predictions:
        if item.answer is None:
            table.add_row(Text("–", style="dim"), "", Text("blank", style="dim"))
        # A generated answer may be long: the input is shown above it, dimmed.
        elif item.score is None:
            table.add_row("", "", Text.assemble((item.text + "\n", "dim"), item.answer))
        else:
            table.add_row(Text(item.answer, style="bold"), *_score(item), Text(item.text, style="dim"))
    screen.show(table)


def _score(item: "Prediction") -> list[str]:
    return [] if item.score is None else [f"{item.score:.3f}"]
