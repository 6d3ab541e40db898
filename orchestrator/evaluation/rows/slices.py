"""Slices of the test rows: the metric of a kept adapter by length, label and column, and the worst slice.

Each value has an interval. The intervals of one adapter hold together: Bonferroni's correction divides the error
probability of 5 % by the number of slices. So chance rarely makes one of many small slices the worst.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.trials.manifest import write_atomically
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.objective.rows.slice_columns import thirds

if TYPE_CHECKING:
    from orchestrator.statistics.intervals import Interval

FILE = "test_slices.json"
"""Name of the file with the slice of each test row by column, in the folder of a sweep."""
SMALL = 200
"""Slices with fewer rows are marked."""
_ERROR = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """The metric of one adapter on some of the test rows.

    Attributes:
        column: ``length``, ``label`` or a column of the data.
        name: the value or range of the column.
        rows: number of rows.
        metric: ``accuracy``, or ``loss`` in a task without classes.
        value: the metric on these rows.
        low, high: limits of its interval: Wilson's for an accuracy, Student's for a loss.
        level: confidence level of this interval.
    """

    column: str
    name: str
    rows: int
    metric: str
    value: float
    low: float
    high: float
    level: float

    @property
    def small(self) -> bool:
        """Whether the slice has fewer than 200 rows."""
        return self.rows < SMALL

    @property
    def badness(self) -> float:
        """Larger values are worse beyond doubt: minus the upper limit of an accuracy, the lower limit of a loss."""
        return self.low if self.metric == "loss" else -self.high


def row_slices(
    rows: RowMeasures, columns: Mapping[str, Sequence[str | None]]
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the row numbers of each slice by column and name.

    Lengths are divided into thirds by input tokens. A slice that contains all rows is omitted.

    Args:
        rows: the rows of a measurement; without tokens there are no slices by length.
        columns: slice of each row by column; None: no slice. A column of another number of rows is ignored.
    """
    count = len(rows.losses)
    named: dict[str, Sequence[str | None]] = {"length": thirds(rows.tokens, " tokens")} if rows.tokens else {}
    named |= {column: names for column, names in columns.items() if len(names) == count and column not in named}
    places: dict[tuple[str, str], list[int]] = {}
    for column, names in named.items():
        for row, name in enumerate(names):
            if name is not None:
                places.setdefault((column, name), []).append(row)
    return {key: tuple(found) for key, found in places.items() if len(found) < count}


def measured_slices(rows: RowMeasures, columns: Mapping[str, Sequence[str | None]]) -> tuple[Slice, ...]:
    """Return the slices of a measurement with at least 2 rows, by column in the order of ``row_slices``.

    Args:
        rows: the rows of the measurement.
        columns: slice of each row by column; None: no slice.
    """
    places = {key: found for key, found in row_slices(rows, columns).items() if len(found) > 1}
    level = 1 - _ERROR / max(1, len(places))
    return tuple(_slice(rows, key, found, level) for key, found in places.items())


def worst_slice(slices: Sequence[Slice]) -> Slice | None:
    """Return the slice which is worst beyond doubt; None without slices.

    This is the accuracy with the lowest upper limit, or the loss with the highest lower limit. A few wrong rows of a
    small slice have a wide interval, so they are rarely chosen.
    """
    return max(slices, key=lambda each: each.badness, default=None)


def write_slice_columns(sweep_dir: Path, columns: Mapping[str, Sequence[str | None]]) -> None:
    """Write the slice of each test row by column to the sweep's folder, atomically.

    Raises:
        OSError: the disk is full.
    """
    write_atomically(sweep_dir / FILE, json.dumps({name: [*names] for name, names in columns.items()}))


def read_slice_columns(sweep_dir: Path) -> dict[str, list[str | None]]:
    """Return the slice of each test row by column; empty if the file is missing or damaged."""
    try:
        document = json.loads((sweep_dir / FILE).read_text(encoding="utf-8"))
        return {name: [*names] for name, names in document.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, TypeError, AttributeError):  # not UTF-8, not JSON, or another document
        return {}


def _slice(rows: RowMeasures, key: tuple[str, str], places: Sequence[int], level: float) -> Slice:
    column, name = key
    interval = _interval(rows, places, level)
    return Slice(
        column=column,
        name=name,
        rows=len(places),
        metric="accuracy" if rows.predictions else "loss",
        value=interval.value,
        low=interval.low,
        high=interval.high,
        level=level,
    )


def _interval(rows: RowMeasures, places: Sequence[int], level: float) -> "Interval":
    import numpy as np

    from orchestrator.statistics.intervals import mean_interval, wilson_interval

    if rows.predictions:
        right = sum(rows.predictions[place] == rows.references[place] for place in places)
        return wilson_interval(right, len(places), level)
    chosen = [*places]
    return mean_interval(np.array(rows.losses)[chosen], np.array(rows.units)[chosen], level)
