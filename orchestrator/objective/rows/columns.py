"""Columns of rows. Kept columns are not copied: large tables stay mapped from their file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets


def with_columns(
    rows: "datasets.Dataset", names: Iterable[str], new: Mapping[str, Sequence[Any]]
) -> "datasets.Dataset":
    """Return the columns ``names`` of rows, those that exist, and new columns after them."""
    found: datasets.Dataset = rows.select_columns([name for name in names if name in rows.column_names])
    for name, values in new.items():
        found = found.add_column(name, values)
    return found
