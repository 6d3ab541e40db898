"""Folds: other divisions of the rows for training and validation. Related rows stay on one side, test stays apart."""

import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.core.data import DataPlan
from orchestrator.core.errors import DataError
from orchestrator.core.seeds import derive_seed
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.converted import values_in_parts
from orchestrator.objective.rows.text_pairs import row_texts
from orchestrator.objective.splits.draw import keyed_hash
from orchestrator.objective.splits.rules import rule_of
from orchestrator.objective.splits.table import Columns, group_name

_COLUMNS = Columns()


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One division of the rows of train and validation.

    Attributes:
        train, validation: ascending row numbers; the rows of train come first, then those of validation.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]


def folds(splits: Splits, plan: DataPlan) -> tuple[Fold, ...]:
    """Return the folds after the sweep's own division, stratified by label.

    The sweep's validation split is the first fold, and it is not returned. The training rows are divided into the
    other ``plan.folds`` - 1 folds, so each row of both splits is in one fold. Each further repeat divides all rows of
    both splits into ``plan.folds`` new ones. Rows of one group and texts too similar for two splits stay together. The
    folds depend on the rows and on ``plan.seed`` alone; more repeats leave the folds of the first ones as they are.

    Args:
        splits: the sweep's rows. The columns ``text``, ``label`` and ``group`` count where the objective has them.
        plan: has the number of folds and of repeats, the seed and the version of the split rule.

    Returns:
        ``plan.folds`` × ``plan.repeats`` - 1 folds; none if ``plan.folds`` is None.

    Raises:
        DataError: there are fewer groups of related rows than folds, or each label has fewer rows than there are folds.
    """
    if plan.folds is None:
        return ()
    rows = [*range(len(splits.train) + len(splits.validation))]
    labels, related = _labels(splits), _related(splits, plan)
    found = []
    for repeat in range(plan.repeats):
        first = repeat == 0
        pool, count = (rows[: len(splits.train)], plan.folds - 1) if first else (rows, plan.folds)
        seed = derive_seed("folds", plan.seed, repeat)
        for held in _divisions([labels[row] for row in pool], [related[row] for row in pool], count, seed):
            validation = {pool[place] for place in held}
            train = tuple(row for row in rows if row not in validation)
            found.append(Fold(train=train, validation=tuple(sorted(validation))))
    return tuple(found)


def _divisions(labels: Sequence[str], related: Sequence[int], count: int, seed: int) -> Iterator[list[int]]:
    """Yield the places of the validation rows of each fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    if len({*related}) < count:
        raise DataError(
            f"data.folds: {count} groups of related rows are needed for {count} folds beside the validation split; "
            f"there are {len({*related})}. Ask for fewer folds"
        )
    if (largest := max(Counter(labels).values())) < count:
        raise DataError(f"data.folds: a label with {count} rows is needed, the largest has {largest}; ask for fewer")
    if count == 1:
        yield [*range(len(labels))]
        return
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a label may have fewer rows than there are folds
        warnings.filterwarnings("ignore", "The least populated class")
        divisions = [held.tolist() for _, held in splitter.split(labels, labels, related)]
    yield from divisions


def _labels(splits: Splits) -> list[str]:
    """Return the class of each row as text; equal texts without classes."""
    name = _COLUMNS.label
    found: list[str] = []
    for rows in (splits.train, splits.validation):
        values = values_in_parts(rows, name) if name in rows.column_names else [None] * len(rows)
        found += [str(value) if isinstance(value, int | str) else "" for value in values]
    return found


def _related(splits: Splits, plan: DataPlan) -> list[int]:
    """Return a number for each row; related rows have the same one."""
    forms, keys = rule_of(plan.split_rule).forms, list[list[Hashable]]()
    for rows in (splits.train, splits.validation):
        first = len(keys)
        keys += [[("row", first + row)] for row in range(len(rows))]
        if _COLUMNS.text in rows.column_names:
            for row, text in enumerate(row_texts(rows, _COLUMNS.text)):
                keys[first + row].append(("near", keyed_hash(plan.seed, forms(text).near)))
        if _COLUMNS.group in rows.column_names:
            for row, group in enumerate(values_in_parts(rows, _COLUMNS.group)):
                if (name := group_name(group)) is not None:
                    keys[first + row].append(("group", name))
    return _components(keys)


def _components(keys: Sequence[Sequence[Hashable]]) -> list[int]:
    """Return a number for each row; rows connected by equal keys have the same one."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places: dict[Hashable, int] = {}
    for own in keys:
        for key in own:
            places.setdefault(key, len(keys) + len(places))
    links = np.array([(row, places[key]) for row, own in enumerate(keys) for key in own])
    size = len(keys) + len(places)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(size, size))
    _, numbers = connected_components(graph, directed=False)
    return [int(number) for number in numbers[: len(keys)]]
