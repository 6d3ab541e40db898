"""Folds: complete, disjoint, stratified, and related rows on one side."""

from collections import Counter

import datasets
import pytest
from hypothesis import given, reject
from hypothesis import settings as examples
from hypothesis import strategies as st

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.protocol import Splits
from orchestrator.objective.splits import Fold, Splitter, folds, rule_of

SOURCE = Source(origin=Origin.LOCAL, name="rows.csv")


def table(labels: list[int], texts: list[str], groups: list[str | None] | None = None) -> datasets.Dataset:
    columns = {"text": texts, "label": labels} | ({} if groups is None else {"group": groups})
    return datasets.Dataset.from_dict(columns)


def numbered(count: int) -> list[str]:
    return [f"a text with the number {row}" for row in range(count)]


def divided(rows: datasets.Dataset, count: int, repeats: int = 1, *, test: int = 4, seed: int = 0) -> Splits:
    """Return the sweep's own splits."""
    split = Splitter().split(rows, plan(count, repeats, test=test, seed=seed))
    return Splits(train=split.train, validation=split.validation, test=split.test, shift={})


def plan(count: int, repeats: int = 1, *, test: int = 4, seed: int = 0) -> DataPlan:
    return DataPlan(source=SOURCE, test=test, seed=seed, folds=count, repeats=repeats, equal_folds=True)


def made(splits: Splits, count: int, repeats: int = 1, seed: int = 0) -> list[Fold]:
    return [*folds(splits, plan(count, repeats, seed=seed))]


def test_every_row_is_validated_once_per_repeat() -> None:
    splits = divided(table([row % 2 for row in range(54)], numbered(54)), 5)
    found, pool = made(splits, 5, 3), [*splits.train["label"], *splits.validation["label"]]
    assert (len(splits.train), len(splits.validation), len(found)) == (40, 10, 14)
    own = [*range(40, 50)]
    for repeat, held in enumerate((found[:4], found[4:9], found[9:])):
        rows = [row for fold in held for row in fold.validation] + (own if repeat == 0 else [])
        assert sorted(rows) == [*range(50)]
    assert all(sorted(fold.train + fold.validation) == [*range(50)] for fold in found)
    assert all(Counter(pool[row] for row in fold.validation) == {0: 5, 1: 5} for fold in found)
    assert len({fold.validation for fold in found}) == 14
    assert made(splits, 5, 1) == found[:4]


def test_folds_depend_on_seed_alone() -> None:
    splits = divided(table([row % 2 for row in range(54)], numbered(54)), 5)
    assert made(splits, 5, seed=1) == made(splits, 5, seed=1) != made(splits, 5, seed=2)


@examples(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 14)),
        min_size=20,
        max_size=40,
        unique_by=lambda row: (row[0], row[2]),
    )
)
def test_related_rows_stay_together(drawn: list[tuple[int, int, int]]) -> None:
    """A row has a label, a group, and a text that differs from others only by signs."""
    texts = [f"a text with the number {number}{'!' * (label + 1)}" for label, _, number in drawn]
    groups = [None if group > 5 else f"g{group}" for _, group, _ in drawn]
    try:
        splits = divided(table([label for label, _, _ in drawn], texts, groups), 3, 2)
        found = made(splits, 3, 2)
    except DataError:  # one group, or labels with one row each
        reject()
    rows = datasets.concatenate_datasets([splits.train, splits.validation])
    forms, named = [rule_of(2).forms(text) for text in rows["text"]], rows["group"][:]
    for fold in found:
        assert not {forms[row].near for row in fold.train} & {forms[row].near for row in fold.validation}
        sides = [{named[row] for row in side} - {None} for side in (fold.train, fold.validation)]
        assert not sides[0] & sides[1]


def test_too_few_groups_are_refused() -> None:
    rows = table([0, 1] * 15, numbered(30), [f"g{row % 5}" for row in range(30)])
    splits = divided(rows, 3, test=6)
    with pytest.raises(DataError, match="6 groups of related rows are needed for 6 folds beside the validation split"):
        made(splits, 7)
    few = divided(table([*range(4)] * 6, numbered(24)), 3)
    with pytest.raises(DataError, match="a label with 7 rows is needed, the largest has"):
        made(few, 8)


def test_smaller_train_keeps_equal_folds() -> None:
    rows = table([row % 2 for row in range(104)], numbered(104))
    wanted = DataPlan(source=SOURCE, train=40, test=4, folds=5, equal_folds=True)
    split = Splitter().split(rows, wanted)
    assert (len(split.train), len(split.validation)) == (40, 10)
