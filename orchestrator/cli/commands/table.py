"""``table``: write the trials of a sweep as a Parquet file."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Json, SweepName
from orchestrator.cli.screen import Screen
from orchestrator.stores import find_sweep, logs_folder


def table(
    name: SweepName,
    file: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="New file, or a table to replace.")],
    as_json: Json = False,
) -> None:
    """Write configurations, reports, seeds, times and test rows of all trials to a Parquet file."""
    from orchestrator.core.errors import UserError
    from orchestrator.replay.recorded import table_of
    from orchestrator.replay.table_file import write_table

    screen = Screen(as_json=as_json)
    if file.suffix != ".parquet":
        raise UserError(f"{file}: the name of a trial table must end in .parquet, as in trials.parquet")
    ledger, sweep = find_sweep(name)
    with screen.quiet(logs_folder() / "table.log"):
        trials = table_of(ledger, sweep)
        try:
            write_table(trials, file)
        except OSError as error:
            raise UserError(f"table not written to {file}: {error.strerror or error}") from error
    counts = {
        "trials": len(trials.trials),
        "reports": sum(len(trial.reports) for trial in trials.trials),
        "with_test_rows": sum(trial.test_rows is not None for trial in trials.trials),
    }
    screen.show(
        f"{sweep.reference} written to {file}: {counts['trials']} trials, {counts['reports']} reports, "
        f"{counts['with_test_rows']} trials with test rows",
        soft_wrap=True,
    )
    if not counts["with_test_rows"] and not trials.of_function:
        screen.say("test rows are recorded by sweeps with tracking.record: true")
    screen.emit({"sweep": sweep.reference, "file": str(file), **counts})
