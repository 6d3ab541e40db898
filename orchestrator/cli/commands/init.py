"""``init``: write a first sweep file for a task, a model and data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.columns import found_columns
from orchestrator.cli.options import Json
from orchestrator.cli.screen import Screen
from orchestrator.core.data import Origin
from orchestrator.core.errors import DataError, UserError, in_short
from orchestrator.core.system.environment import program
from orchestrator.stores import existing_ledger, fetch_assets, logs_folder, read_spec, spec_of_data

if TYPE_CHECKING:
    from orchestrator.preparation.draft import DraftFacts
    from orchestrator.preparation.prepared import PreparedSweep
    from orchestrator.spec.sweep_spec import SweepSpec

_MOST_TOKENS = 512
"""Longest counted length of a row, in tokens."""
_SHARE = 0.99
"""Share of the training rows that fit within ``max_length``."""


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new sweep file; its name is the sweep's name.")],
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Objective: a name such as classification, or a .py file.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Base model, as in a sweep file.")] = None,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="Rows, as data.source in a sweep file.")] = None,
    text: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the texts. Default: the longest texts.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the classes. Default: the fewest values.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COLUMN", help="Column of another name of the task: target=summary. Repeatable."),
    ] = None,
    estimate: Annotated[
        bool, typer.Option(help="Time a few optimizer steps, to estimate the duration of the sweep.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Write a commented sweep file for your rows, model and machine. It asks for values that no option gives."""
    from orchestrator.objective.loading import objective_facts, objective_names
    from orchestrator.preparation.draft import sweep_text

    if file.exists():
        raise UserError(f"{file} exists; choose another name")
    if not file.parent.is_dir():
        raise UserError(f"FILE: {file.parent} is not a folder; create it first")
    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"FILE: a name that ends in .yaml is needed, got {file}")
    screen = Screen(as_json=as_json)
    task = task or typer.prompt(f"Task ({', '.join(objective_names())}, or a .py file)", default="classification")
    defaults = objective_facts(task)
    model = model or typer.prompt(
        "Base model (packaged name, hub:org/name, a folder or a .gguf file)", default=str(defaults.default_model)
    )
    own = defaults.default_source
    data = data or typer.prompt(
        "Data (a file, a packaged name or hub:org/name)", default=None if own.origin is Origin.LOCAL else str(own)
    )
    columns = {name: named for name, named in (("text", text), ("label", label)) if named is not None}
    columns |= dict(_pair(given) for given in column or [])
    with screen.quiet(logs_folder() / "init.log"):
        facts = _facts(screen, file, (task, model, data), columns)
        file.write_text(sweep_text(facts), encoding="utf-8")
        try:
            spec = read_spec(file)
            lines = _plan(screen, spec, timed=estimate)
        except BaseException:  # also on an interrupt: a file that does not validate must not stay
            file.unlink()
            raise
    screen.show(f"{file}: written, valid")
    for line in lines:
        screen.show(line, soft_wrap=True)
    screen.show(f"show the plan: {program()} sweep {file} --dry-run\nrun it:        {program()} sweep {file}")
    screen.emit({"file": str(file), "columns": dict(facts.columns), "rows": dict(facts.rows), "notes": lines})


def _facts(screen: Screen, file: Path, answers: tuple[str, str, str], columns: dict[str, str]) -> "DraftFacts":
    """Read the data and the model; return the facts for the sweep file."""
    from orchestrator.cli.hardware import detect_hardware
    from orchestrator.ledger.home import home
    from orchestrator.objective.loading import load_objective
    from orchestrator.objective.protocol import Head
    from orchestrator.objective.truncation import token_lengths
    from orchestrator.preparation.draft import DraftFacts
    from orchestrator.preparation.rows import read_rows, row_counts

    task, model, data = answers
    source = _relative(data, file)
    columns = {**found_columns(screen, task, data, columns, "--{name}"), **columns}
    written = [f"model={model}", *(f"data.columns.{name}={column}" for name, column in columns.items())]
    spec = spec_of_data(data, task, written)
    fetch_assets(spec, screen.say)
    try:
        objective, splits, checked, _ = read_rows(
            spec, load_objective(spec.objective, (), spec.data.chat_template, spec.data.prompt)
        )
    except DataError as error:
        if "data.columns" not in str(error):
            raise
        raise DataError(f"{error} With init: --column NAME=COLUMN.") from error
    lengths = sorted(token_lengths(objective, splits, checked.tokenizer, _MOST_TOKENS)["train"])
    hardware = detect_hardware(home())
    return DraftFacts(
        name=file.stem,
        objective=task if not task.endswith(".py") else _relative(task, file),
        model=_relative(model, file),
        source=source,
        columns=columns,
        rows=row_counts(splits),
        length=lengths[int(_SHARE * (len(lengths) - 1))] if lengths else None,
        new_head=objective.head is Head.TOKEN_CLASSIFICATION,
        has_windows=objective.head.by_token,
        weights=checked.weights,
        cores=hardware.cores,
        has_gpu=bool(hardware.gpus) and not any("cannot use" in gpu for gpu in hardware.gpus),
        schema=str(Path(__file__).parents[3] / "sweeps" / "sweep.schema.json"),
    )


def _pair(given: str) -> tuple[str, str]:
    """Return the task's name and the column of ``--column NAME=COLUMN``."""
    name, sign, column = given.partition("=")
    if not (name and sign and column):
        raise UserError(f"--column: NAME=COLUMN is needed, such as target=summary; got {given!r}")
    return name, column


def _plan(screen: Screen, spec: "SweepSpec", *, timed: bool) -> list[str]:
    """Prepare the sweep and show its rows; return the length of a trial and the time of the sweep, in words."""
    from orchestrator.preparation.prepared import prepare
    from orchestrator.preparation.request import request_of
    from orchestrator.preparation.rows import row_counts
    from orchestrator.report import words
    from orchestrator.report.data_text import data_lines
    from orchestrator.report.pace import earlier_pace

    ledger = existing_ledger()
    prepared = prepare(request_of(spec), ledger, fresh=True)
    splits = prepared.splits
    for name, line in () if splits is None else data_lines(row_counts(splits), splits.summary, classes=False):
        screen.say(f"{name}: {line}")
    pace = None if ledger is None else earlier_pace(ledger, spec)
    trials, limit = spec.budget.trials or 1, words.duration(spec.budget.wall_time_s or 0.0)
    if pace is not None:
        seconds = trials * prepared.engine_plan.report_points[-1] / pace.rows_per_s
        time_line = f"time: at most {words.duration(seconds)} at the speed of {pace.sweep}, and at most {limit}"
    elif timed:
        time_line = f"time: {_estimate(prepared, trials, spec.budget.wall_time_s)}; at most {limit} (budget.wall_time)"
    else:
        time_line = f"time: at most {limit} (budget.wall_time); no step was timed"
    return [f"a trial: {prepared.length.text}", time_line]


def _estimate(prepared: "PreparedSweep", trials: int, limit_s: float | None) -> str:
    """Time a few optimizer steps; return the estimated duration of the search in words, or why there is none.

    ``limit_s``: the limit of the search in seconds. If the estimate is longer, the text says so.
    """
    from orchestrator.preparation.timing import STEPS, time_steps
    from orchestrator.report import words

    try:
        timing = time_steps(prepared)
    except Exception as error:  # noqa: BLE001  (any failure: the file is valid, and the sweep reports it again)
        return f"unknown, because the timed steps failed ({in_short(error)})"
    if timing is None:
        return "unknown, because trials with several workers are not timed"
    seconds = timing.search_s(prepared, trials)
    answers = ", generated answers not counted" if prepared.engine_plan.generation is not None else ""
    ended = "; the limit may end the search before its last trial" if limit_s is not None and seconds > limit_s else ""
    at_once = f"{timing.together} at once" if timing.together > 1 else "one after another"
    return (
        f"about {words.duration(seconds)} for {trials} trials, {at_once}, estimated from {STEPS} optimizer steps on "
        f"this machine{answers} (early stopping takes less, a busy machine takes more){ended}"
    )


def _relative(path: str, file: Path) -> str:
    """Return a path from the folder of the new file, if it is a file or folder; else the text unchanged."""
    place = Path(path).expanduser()
    if not place.exists():
        return path
    place, folder = place.absolute(), file.parent.absolute()
    return f"./{place.relative_to(folder)}" if place.is_relative_to(folder) else str(place)
