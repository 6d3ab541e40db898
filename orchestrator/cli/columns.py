"""Finds the columns of texts and classes in a user's data."""

from collections.abc import Mapping

from orchestrator.cli.screen import Screen
from orchestrator.stores import fetch_assets, spec_of_data

_ROWS = 1000
"""Rows read to find the columns."""


def found_columns(screen: Screen, task: str, data: str, given: Mapping[str, str], option: str) -> dict[str, str]:
    """Return the columns of texts and classes, if the task is classification and their names differ.

    Args:
        screen: shows each column that is found.
        task: the objective.
        data: the rows, as ``data.source`` in a sweep file.
        given: columns named by the user, by the objective's names.
        option: the option that names another column, with ``{name}`` for the objective's name.
    """
    from orchestrator.assets.data import read_table
    from orchestrator.objective.rows.selection import first_rows
    from orchestrator.preparation.draft import guessed_columns

    if task != "classification":
        return {}
    spec = spec_of_data(data, task)
    fetch_assets(spec, screen.say)
    first = first_rows(read_table(spec.data.source), _ROWS)
    columns = guessed_columns({name: first[name][:] for name in first.column_names}, given)
    for name, column in columns.items():
        screen.say(f"column {name}: {column} ({option.format(name=name)} names another)")
    return columns
