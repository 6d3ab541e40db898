"""Columns that divide the rows into slices. No model reads them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.objective.rows.text_pairs import PAIR

if TYPE_CHECKING:
    import datasets

PREFIX = "slice/"
"""Prefix of the columns kept for slices only. The digest of the rows omits them."""
MIN_ROWS = 10
"""Fewest rows of a value with a slice of its own."""
MAX_VALUES = 20
"""Most slices of a column, its most frequent values; more different numbers are divided into thirds."""


def kept_columns(
    rows: "datasets.Dataset", columns: Mapping[str, str], own: Iterable[str]
) -> dict[str, Sequence[object]]:
    """Return the columns named in ``data.columns`` beyond the objective's own, with the prefix.

    Args:
        rows: rows with the objective's column names.
        columns: the source's column name by name.
        own: names of the objective's own columns.
    """
    return {PREFIX + name: rows[name][:] for name in columns if name not in {*own}}


def kept_names(rows: "datasets.Dataset", columns: Mapping[str, str], own: Iterable[str]) -> dict[str, str]:
    """Return the columns of ``kept_columns``, and ``group`` if the rows have it, by their new names.

    Args:
        rows: rows with the objective's column names.
        columns: the source's column name by name.
        own: names of the objective's own columns.
    """
    names = {PREFIX + name: name for name in columns if name not in {*own, "group"}}
    return names | ({"group": "group"} if "group" in rows.column_names else {})


def slice_names(rows: "datasets.Dataset", labels: Sequence[str], target: str = "") -> dict[str, list[str | None]]:
    """Return the slice of each row by column; None: the row is in no slice. Columns without slices are omitted.

    Args:
        rows: the rows of a split.
        labels: class names in the order of their ids; empty: the task has no classes.
        target: name of the column with the text to generate.
    """
    named: dict[str, list[str | None]] = {}
    for column in rows.column_names:
        if column != "label" and column in {"text", PAIR, target}:
            continue
        values = rows[column][:]
        if column == "label" and values and isinstance(values[0], list):
            named |= _vector_slices(values, labels)
        elif column == "label" and labels and {*values} <= {*range(len(labels))}:
            named[column] = [labels[index] for index in values]
        else:
            named[column.removeprefix(PREFIX)] = _names(values)
    return {name: names for name, names in named.items() if any(names)}


def _vector_slices(vectors: Sequence[Sequence[float]], labels: Sequence[str]) -> dict[str, list[str | None]]:
    """Return the slices by classes (``billing, urgent``), or by each target's number."""
    if all(value in {0, 1} for vector in vectors for value in vector):
        names = [[name for name, value in zip(labels, vector, strict=True) if value] for vector in vectors]
        return {"label": _names([", ".join(some) or "(no class)" for some in names])}
    return {f"label {name}": _names(values) for name, values in zip(labels, zip(*vectors, strict=True), strict=True)}


def thirds(values: Sequence[float], unit: str = "") -> list[str]:
    """Return the third of each value by name: ``up to 12``, ``over 12 to 27``, ``over 27``; one name if all are equal.

    Args:
        values: finite numbers.
        unit: ends the names, for example `` tokens``.
    """
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 3], ordered[2 * (len(ordered) - 1) // 3]
    names = (f"up to {low:g}{unit}", f"over {low:g} to {high:g}{unit}", f"over {high:g}{unit}")
    return [names[(value > low) + (value > high)] for value in values]


def _names(values: Sequence[Any]) -> list[str | None]:
    known = [value for value in values if value is not None and str(value).strip()]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    if numbers and len({*known}) > MAX_VALUES:
        finite = [float(value) if value is not None and abs(value) < float("inf") else None for value in values]
        named = iter(thirds([value for value in finite if value is not None]))
        return [None if value is None else next(named) for value in finite]
    texts = ["(missing)" if value is None or not str(value).strip() else str(value).strip() for value in values]
    frequent = {text for text, count in Counter(texts).most_common(MAX_VALUES) if count >= MIN_ROWS}
    return [text if text in frequent else None for text in texts]
