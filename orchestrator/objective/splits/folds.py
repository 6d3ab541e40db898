"""Folds: each row is in validation once per repeat, and related rows stay on one side."""

import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.errors import DataError
from orchestrator.core.seeds import derive_seed
from orchestrator.objective.splits.rules import rule_of
from orchestrator.objective.splits.table import Columns, Table

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One division of rows.

    Attributes:
        repeat: number of the repeat, from 0.
        number: number of the fold in its repeat, from 0.
        train, validation: row numbers, ascending. Together they are all usable rows.
    """

    repeat: int
    number: int
    train: tuple[int, ...]
    validation: tuple[int, ...]


def folds(
    rows: "datasets.Dataset", columns: Columns, *, count: int, repeats: int = 1, seed: int = 0, split_rule: int = 2
) -> Iterator[Fold]:
    """Yield ``count`` folds for each repeat, stratified by label.

    Rows of one group, copies and texts too similar for two splits stay together. Blank texts, rows without a label and
    copies are in no fold, as in ``Splitter.split``. The folds depend on the seed and the rows alone.

    Args:
        rows: all rows that are not held out for the test split.
        columns: names of the columns.
        count: number of folds, at least 2.
        repeats: number of repeats, each with another division.
        seed: seed of the divisions.
        split_rule: version of the rule for copies and similar texts.

    Raises:
        DataError: ``count`` is below 2, ``repeats`` is below 1, there are fewer than ``count`` groups of related rows,
            or each label has fewer than ``count`` rows.
    """
    if count < 2 or repeats < 1:
        raise DataError(f"data.folds: at least 2 folds and 1 repeat are needed, got {count} and {repeats}")
    table = Table.read(rows, columns, rule_of(split_rule))
    usable, _ = table.clean()
    usable.sort()
    related = _components([(table.units[row], ("near", table.forms[row].near)) for row in usable])
    if len({*related}) < count:
        raise DataError(
            f"data.folds: {count} folds need {count} groups of related rows; the data has {len({*related})}. Ask for "
            "fewer folds"
        )
    labels = [str(table.labels[row]) for row in usable]
    if (largest := max(Counter(labels).values())) < count:
        raise DataError(f"data.folds: {count} folds need a label with {count} rows; the largest has {largest}")
    for repeat in range(repeats):
        for number, held in enumerate(_divisions(labels, related, count, derive_seed("folds", seed, repeat))):
            chosen = {*held}
            yield Fold(
                repeat=repeat,
                number=number,
                train=tuple(row for place, row in enumerate(usable) if place not in chosen),
                validation=tuple(usable[place] for place in sorted(chosen)),
            )


def _divisions(labels: Sequence[str], related: Sequence[int], count: int, seed: int) -> Iterator[list[int]]:
    """Yield the places of the validation rows of each fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a label may have fewer rows than there are folds
        warnings.filterwarnings("ignore", "The least populated class")
        divisions = [held.tolist() for _, held in splitter.split(labels, labels, related)]
    yield from divisions


def _components(keys: Sequence[tuple[Hashable, Hashable]]) -> list[int]:
    """Return a number for each row; rows connected by equal keys have the same one."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places: dict[Hashable, int] = {}
    for pair in keys:
        for key in pair:
            places.setdefault(key, len(keys) + len(places))
    links = np.array([(row, places[key]) for row, pair in enumerate(keys) for key in pair])
    size = len(keys) + len(places)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(size, size))
    _, numbers = connected_components(graph, directed=False)
    return [int(number) for number in numbers[: len(keys)]]
