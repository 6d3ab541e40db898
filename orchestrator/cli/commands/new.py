"""``new``: write a commented objective with its test."""

import enum
import keyword
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from orchestrator.cli.options import Json
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import UserError
from orchestrator.core.system.environment import PROGRAM, program


class Kind(enum.StrEnum):
    """What an objective file contains: a task of the engines, or a function with its own training."""

    TASK = "task"
    FUNCTION = "function"


def objective(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the objective and of its files.")],
    kind: Annotated[
        Kind, typer.Option(help="task: declared, trained by the engines; function: your own training loop.")
    ] = Kind.TASK,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the new files.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a commented objective file with its test; for a function, a sweep file too. Nothing is overwritten."""
    screen = Screen(as_json=as_json)
    if not name.isidentifier() or name != name.lower():
        raise UserError(f"NAME: a Python name in lower case is needed, such as my_task, got {name!r}")
    if keyword.iskeyword(name) or keyword.iskeyword(_title(name)):
        raise UserError(f"NAME: a word of the Python language cannot be a name, got {name!r}; choose another")
    files = _files(name, kind, folder)
    there = [str(path) for path in files if path.exists()]
    if there:
        raise UserError(f"{', '.join(there)} exists; choose another NAME or --folder")
    if not folder.is_dir():
        raise UserError(f"--folder: {folder} is not a folder")
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    written = [str(path) for path in files]
    screen.show(f"written: {', '.join(written)}", soft_wrap=True)
    test = f"python -m pytest {written[1]}"
    use = f"objective: ./{name}.py" if kind is Kind.TASK else f"{program()} sweep {written[2]} --dry-run"
    screen.show(f"test it: {test}\nuse it:  {use}", soft_wrap=True)
    screen.emit({"files": written})


def make_new(cls: type[TyperCommand]) -> typer.Typer:
    """Return the group of the commands that write new files, each of class ``cls``."""
    app = typer.Typer(no_args_is_help=True, help="Write a commented file to start from.")
    app.callback()(_group)
    app.command("objective", cls=cls)(objective)
    return app


def _group() -> None:
    """Write a commented file to start from."""


def _title(name: str) -> str:
    """Return the name of the class."""
    return "".join(part.capitalize() for part in name.split("_") if part) or "Mine"


def _files(name: str, kind: Kind, folder: Path) -> dict[Path, str]:
    """Return the text of each new file by its path: the objective, its test, and the sweep file of a function."""
    from orchestrator.cli import templates

    words = {"name": name, "title": _title(name)}
    if kind is Kind.TASK:
        texts = {f"{name}.py": templates.TASK, f"test_{name}.py": templates.TASK_TEST}
    else:
        texts = {
            f"{name}.py": templates.FUNCTION,
            f"test_{name}.py": templates.FUNCTION_TEST,
            f"{name}.yaml": templates.FUNCTION_SWEEP,
        }
    schema = Path(__file__).parents[3] / "sweeps" / "sweep.schema.json"
    return {folder / file: text.format(**words, schema=schema, program=PROGRAM) for file, text in texts.items()}
