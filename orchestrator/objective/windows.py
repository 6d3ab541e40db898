"""Rows encoded as several examples: overlapping windows over a long text.

``encode`` numbers the windows of a row with the key ``window``: 0, 1, 2 …, one after another; an example without it is
a row of its own. The optional key ``row`` names the row's content, so that measurements with other windows can be
compared row by row. Engines train and batch windows, so a training sample is a window. Splits, folds and measurements
count rows: the optional hook ``join(examples, pairs)`` of an objective returns one pair for the windows of a row.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.core.errors import ObjectiveError
from orchestrator.objective.protocol import Example, Objective
from orchestrator.objective.rows.encoded_rows import EncodedRows, values_of


def rows_of(examples: Sequence[Example]) -> list[range]:
    """Return the places of the examples of each row, in the order of the rows."""
    if isinstance(examples, EncodedRows) and not examples.has("window"):
        return [range(place, place + 1) for place in range(len(examples))]
    starts = [place for place, window in enumerate(values_of(examples, "window")) if not window]
    ends = [*starts[1:], len(examples)]
    return [range(start, end) for start, end in zip(starts, ends, strict=False)]  # no examples have an end too


def of_rows(examples: Sequence[Example], rows: Iterable[int]) -> Sequence[Example]:
    """Return the examples of some rows, by their numbers."""
    if isinstance(examples, EncodedRows) and not examples.has("window"):
        return examples.select(rows)
    places = rows_of(examples)
    if isinstance(examples, EncodedRows):
        return examples.select(place for row in rows for place in places[row])
    return [examples[place] for row in rows for place in places[row]]


def row_keys(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the key of each row, by the key ``row`` of its first example; empty if a row has none."""
    if isinstance(examples, EncodedRows) and not examples.has("row"):  # most tasks: no example is read
        return ()
    of_examples = values_of(examples, "row")
    keys = tuple(of_examples[places.start] for places in rows_of(examples))
    return keys if all(keys) else ()


def join_windows(
    objective: Objective, examples: Sequence[Example], pairs: Sequence[tuple[Any, Any]]
) -> list[tuple[Any, Any]]:
    """Return one pair per row from the pairs of all windows.

    Raises:
        ObjectiveError: a row has several windows, and the objective cannot join them.
    """
    join = getattr(objective, "join", None)
    if join is not None:
        return [
            join([examples[place] for place in places], [pairs[place] for place in places])
            for places in rows_of(examples)
        ]
    if any(values_of(examples, "window")):
        raise ObjectiveError(
            f"objective {objective.name}: encode returned several windows for a row; define join(examples, pairs)"
        )
    return [*pairs]
