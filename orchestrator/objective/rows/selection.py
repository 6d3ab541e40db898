"""Some rows of a data set, by their places. Rows are not copied: large tables stay mapped from their file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datasets


def first_rows(rows: "datasets.Dataset", count: int) -> "datasets.Dataset":
    """Return the first ``count`` rows; all of them if there are fewer."""
    first: datasets.Dataset = rows.select(range(min(count, len(rows))))
    return first


def parts_of(rows: "datasets.Dataset", size: int) -> "Iterator[datasets.Dataset]":
    """Yield neighbouring rows in parts of ``size`` rows; the last part may have fewer."""
    for start in range(0, len(rows), size):
        yield rows.select(range(start, min(start + size, len(rows))))
