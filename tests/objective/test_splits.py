"""Splits never leak, keep the labels' shares, and depend on the seed and the rows' content alone."""

import hashlib
import json
import random
from collections import Counter

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.digest import digest
from orchestrator.objective.splits import Cutting, normalised, verify_disjoint

SOURCE = Source(origin=Origin.LOCAL, name="rows.csv")
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(rows: list[tuple[str, int, str]], *, grouped: bool = False) -> datasets.Dataset:
    columns = {"text": [row[0] for row in rows], "label": [row[1] for row in rows]}
    return datasets.Dataset.from_dict({**columns, "group": [row[2] for row in rows]} if grouped else columns)


def plan(validation: int, test: int, *, train: int | None = None, seed: int = 0) -> DataPlan:
    return DataPlan(source=SOURCE, train=train, validation=validation, test=test, seed=seed)


def texts(*splits: datasets.Dataset) -> list[set[str]]:
    return [{normalised(text) for text in split["text"]} for split in splits]


@st.composite
def rows_of(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """60 to 200 rows of uneven labels and document sizes, with some copies that differ in case and signs."""
    generator = random.Random(draw(st.integers(0, 10_000)))
    number = draw(st.integers(60, 200))
    share = draw(st.floats(0.15, 0.85))
    documents = draw(st.integers(20, 60))
    rows = [(f"text {i}", int(generator.random() < share), str(generator.randrange(documents))) for i in range(number)]
    copies = [(f"  TEXT, {generator.randrange(number)}!", generator.randrange(2), "0") for _ in range(number // 10)]
    mixed = rows + copies
    generator.shuffle(mixed)
    return mixed


@given(rows=rows_of(), seed=st.integers(0, 1000), grouped=st.booleans())
@quick
def test_splits_are_disjoint_in_size_and_the_same_again(
    rows: list[tuple[str, int, str]], seed: int, grouped: bool
) -> None:
    wanted = plan(8, 10, seed=seed)
    train, validation, test = Cutting().cut(table(rows, grouped=grouped), wanted)
    assert (len(validation), len(test)) == (8, 10)
    seen = texts(train, validation, test)
    assert sum(map(len, seen)) == len(set.union(*seen)) == len(train) + 18
    again = Cutting().cut(table(rows, grouped=grouped), wanted)
    assert [split.to_dict() for split in again] == [split.to_dict() for split in (train, validation, test)]


@given(rows=rows_of(), seed=st.integers(0, 1000))
@quick
def test_a_group_stands_in_one_split_alone(rows: list[tuple[str, int, str]], seed: int) -> None:
    splits = Cutting().cut(table(rows, grouped=True), plan(8, 10, seed=seed))
    groups = [set(split["group"]) for split in splits]
    assert sum(map(len, groups)) == len(set.union(*groups))


@given(rows=rows_of(), seed=st.integers(0, 1000))
@quick
def test_labels_keep_their_shares(rows: list[tuple[str, int, str]], seed: int) -> None:
    splits = Cutting().cut(table(rows), plan(10, 20, seed=seed))
    everything = [label for split in splits for label in split["label"]]
    for split in splits:
        expected = len(split) * sum(everything) / len(everything)
        assert abs(sum(split["label"]) - expected) <= 1.5  # rounding, once here and once in the splits before


@given(rows=rows_of(), seed=st.integers(0, 1000))
@quick
def test_the_size_of_train_and_the_order_of_rows_change_nothing_else(
    rows: list[tuple[str, int, str]], seed: int
) -> None:
    small = Cutting().cut(table(rows), plan(8, 10, train=15, seed=seed))
    big = Cutting().cut(table(rows), plan(8, 10, seed=seed))
    assert [split.to_dict() for split in small[1:]] == [split.to_dict() for split in big[1:]]
    assert len(small[0]) == 15
    assert texts(small[0])[0] <= texts(big[0])[0]
    backwards = Cutting().cut(table(rows[::-1]), plan(8, 10, seed=seed))
    assert texts(*backwards) == texts(*big)


def test_another_seed_gives_another_split() -> None:
    rows = table([(f"text {i}", i % 2, "") for i in range(100)])
    assert texts(Cutting().cut(rows, plan(20, 20))[2]) != texts(Cutting().cut(rows, plan(20, 20, seed=1))[2])


def test_copies_are_dropped_and_conflicting_copies_altogether() -> None:
    rows = [(f"text {i}", i % 2, "") for i in range(10)]
    rows += [("TEXT 1!", 1, ""), ("text 2", 1, ""), (" ", 0, ""), ("text-3", 1, "")]
    splits = Cutting().cut(table(rows), plan(2, 2))
    counted = Counter(normalised(text) for split in splits for text in split["text"])
    assert counted == {f"text{i}": 1 for i in (0, 1, 3, 4, 5, 6, 7, 8, 9)}


def test_missing_texts_are_blank() -> None:
    rows = datasets.Dataset.from_dict({"text": ["a", None, "b", "c", ""], "label": [0, 0, 0, 0, 0]})
    assert sorted(text for split in Cutting().cut(rows, plan(1, 1)) for text in split["text"]) == ["a", "b", "c"]


def test_too_few_rows_gives_the_numbers() -> None:
    rows = table([("a", 0, ""), ("A.", 0, ""), ("b", 1, ""), ("B", 0, ""), ("", 0, ""), ("c", 0, ""), ("d", 1, "")])
    message = (
        r"test 2 \+ validation 2 \+ train all the rest needs 5 rows; rows.csv "
        r"\(7 rows, of which 1 copies, 2 with two labels, 1 blank\) leaves 3"
    )
    with pytest.raises(DataError, match=message):
        Cutting().cut(rows, plan(2, 2))
    with pytest.raises(DataError, match="validation needs at least 1 row, got 0"):
        Cutting().cut(rows, plan(0, 1))


def test_groups_too_big_to_share_out_give_the_numbers() -> None:
    rows = table([(f"text {i}", 0, "one") for i in range(50)], grouped=True)
    with pytest.raises(DataError, match=r"validation needs 5 rows and 0 are left, because a group \(group\)"):
        Cutting().cut(rows, plan(5, 5))


def test_a_row_in_two_splits_is_an_error() -> None:
    verify_disjoint({"train": ["a", "b"], "test": ["c"]})
    with pytest.raises(DataError, match=r"a row stands in both train and test: 'goodfilm'"):
        verify_disjoint({"train": ["Good film!", "b"], "test": ["good  film"]})


def test_texts_without_letters_are_told_apart() -> None:
    assert normalised(":)") != normalised(":(")
    assert normalised("Très  BIEN !") == normalised("très bien!")
    assert normalised("ﬁne") == normalised("fine")


def test_shift_rows_are_stratified_and_foreign_to_train() -> None:
    train = table([(f"text {i}", 0, "") for i in range(20)])
    other = table([(f"TEXT {i}", int(i % 4 == 0), "") for i in range(120)] + [("Text 100.", 1, "")])
    shift = Cutting().shift(other, train, 40, seed=0)
    assert len(shift) == 40
    assert texts(shift)[0].isdisjoint(texts(train)[0])
    assert Counter(shift["label"]) == {0: 30, 1: 10}
    assert len(Cutting().shift(other, train, 1000, seed=0)) == 100


def test_without_a_label_every_text_is_alike() -> None:
    rows = datasets.Dataset.from_dict({"text": [f"text {i}" for i in range(30)], "headline": ["h"] * 30})
    train, validation, test = Cutting(label=None).cut(rows, plan(5, 5))
    assert (len(train), len(validation), len(test)) == (20, 5, 5)
    assert train.column_names == ["text", "headline"]


def test_the_digest_of_rows_is_that_of_their_json_lines() -> None:
    rows = datasets.Dataset.from_dict({"text": ["a", "é", None], "label": [1, 0, 2], "group": [[1], [], [2, 3]]})
    lines = b"".join(json.dumps(row, sort_keys=True).encode() + b"\n" for row in rows)
    assert digest(rows) == hashlib.sha256(lines).hexdigest()[:16], "ledgers hold digests that were made so"
    assert digest(rows.select([0, 2])) != digest(rows.select([2, 0]))
    assert digest(rows.select([])) == hashlib.sha256(b"").hexdigest()[:16]
