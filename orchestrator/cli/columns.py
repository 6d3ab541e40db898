"""Finds the columns of texts and classes in a user's data."""

from collections.abc import Collection

from orchestrator.cli.screen import Screen
from orchestrator.stores import fetch_assets, spec_of_data

_ROWS = 1000
"""Rows read to find the columns."""


def found_columns(screen: Screen, task: str, data: str, named: Collection[str], option: str) -> dict[str, str]:
    """Return the columns of texts and classes, if the task is classification and their names differ.

    Args:
        screen: shows each column that is found.
        task: the objective.
        data: the rows, as ``data.source`` in a sweep file.
        named: names of the objective with a column named by the user.
        option: the option that names another column, with ``{name}`` for the objective's name.
    """
    from orchestrator.assets.data import read_table
    from orchestrator.preparation.draft import guessed_columns

    if task != "classification":
        return {}
    spec = spec_of_data(data, task)
    fetch_assets(spec, screen.say)
    rows = read_table(spec.data.source)
    first = rows.select(range(min(_ROWS, len(rows))))
    guessed = guessed_columns({name: first[name][:] for name in first.column_names})
    columns = {name: column for name, column in guessed.items() if name not in named}
    for name, column in columns.items():
        screen.say(f"column {name}: {column} ({option.format(name=name)} names another)")
    return columns
