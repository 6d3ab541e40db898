"""Record the tables, and describe them.

    python -m benchmarks.tables record few-shot [--minutes 60]
    python -m benchmarks.tables describe

`record` continues a partial table, and may be stopped at any time: the same command continues. `describe` writes the
figures and pictures of `README.md`.
"""

import threading
from typing import Annotated

import typer

from benchmarks.tables.describe import write
from benchmarks.tables.record import TASKS, record

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def tables() -> None:
    """Recorded trials of real tasks."""


@app.command("record")
def record_command(
    task: Annotated[str, typer.Argument(help=f"one of {', '.join(TASKS)}")],
    minutes: Annotated[float | None, typer.Option(help="suspend the recording after this time")] = None,
) -> None:
    """Record the missing trials of a table."""
    if task not in TASKS:
        raise typer.BadParameter(f"{task!r} is not one of {', '.join(TASKS)}")
    stop = threading.Event()
    if minutes is not None:
        timer = threading.Timer(60 * minutes, stop.set)
        timer.daemon = True
        timer.start()
    record(task, stop, typer.echo)


@app.command("describe")
def describe_command() -> None:
    """Print the figures of all tables, and draw their pictures."""
    write(typer.echo)


if __name__ == "__main__":
    app()
