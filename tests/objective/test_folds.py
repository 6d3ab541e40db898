"""Folds: complete, disjoint, stratified, and related rows on one side."""

from collections import Counter

import datasets
import pytest
from hypothesis import given, reject
from hypothesis import settings as examples
from hypothesis import strategies as st

from orchestrator.core.errors import DataError
from orchestrator.objective.splits.folds import Fold, folds
from orchestrator.objective.splits.rules import rule_of
from orchestrator.objective.splits.table import Columns


def table(labels: list[int | None], texts: list[str], groups: list[str | None] | None = None) -> datasets.Dataset:
    columns = {"text": texts, "label": labels} | ({} if groups is None else {"group": groups})
    return datasets.Dataset.from_dict(columns)


def numbered(count: int) -> list[str]:
    return [f"a text with the number {row}" for row in range(count)]


def made(rows: datasets.Dataset, count: int, **more: int) -> list[Fold]:
    return [*folds(rows, Columns(), count=count, **more)]


def test_every_row_is_validated_once_per_repeat() -> None:
    rows = table([row % 2 for row in range(50)], numbered(50))
    found = made(rows, 5, repeats=3)
    assert [(fold.repeat, fold.number) for fold in found] == [(r, n) for r in range(3) for n in range(5)]
    for repeat in range(3):
        held = [row for fold in found if fold.repeat == repeat for row in fold.validation]
        assert sorted(held) == [*range(50)]
    assert all(sorted(fold.train + fold.validation) == [*range(50)] for fold in found)
    assert all(Counter(row % 2 for row in fold.validation) == {0: 5, 1: 5} for fold in found)
    assert len({fold.validation for fold in found}) == 15


def test_folds_depend_on_seed_alone() -> None:
    rows = table([row % 2 for row in range(50)], numbered(50))
    assert made(rows, 5, seed=1) == made(rows, 5, seed=1) != made(rows, 5, seed=2)


def test_unusable_rows_are_in_no_fold() -> None:
    texts = [*numbered(20), "", "a text with the number 3"]
    found = made(table([*[row % 2 for row in range(20)], 1, 1], texts), 4)
    assert {row for fold in found for row in fold.train + fold.validation} == {*range(20)}


@examples(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 14)),
        min_size=12,
        max_size=40,
        unique_by=lambda row: (row[0], row[2]),
    )
)
def test_related_rows_stay_together(drawn: list[tuple[int, int, int]]) -> None:
    """A row has a label, a group, and a text that differs from others only by signs."""
    texts = [f"a text with the number {number}{'!' * (label + 1)}" for label, _, number in drawn]
    groups = [None if group > 5 else f"g{group}" for _, group, _ in drawn]
    rows = table([label for label, _, _ in drawn], texts, groups)
    forms = [rule_of(2).forms(text) for text in texts]
    try:
        found = made(rows, 2)
    except DataError:  # one group, or labels with one row each
        reject()
    assert sorted(row for fold in found for row in fold.validation) == [*range(len(drawn))]
    for fold in found:
        assert not {forms[row].near for row in fold.train} & {forms[row].near for row in fold.validation}
        named = [{groups[row] for row in side} - {None} for side in (fold.train, fold.validation)]
        assert not named[0] & named[1]


def test_too_few_groups_are_refused() -> None:
    rows = table([0, 1] * 6, numbered(12), ["a", "b", "c"] * 4)
    assert len(made(rows, 3)) == 3
    with pytest.raises(DataError, match="4 folds need 4 groups of related rows; the data has 3"):
        made(rows, 4)
    with pytest.raises(DataError, match="at least 2 folds"):
        made(rows, 1)
    with pytest.raises(DataError, match="need a label with 5 rows; the largest has 4"):
        made(table([*range(3)] * 4, numbered(12)), 5)
