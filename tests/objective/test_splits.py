"""Splits are disjoint and stratified, and depend only on the seed and the rows' content."""

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
from orchestrator.objective.rows.digest import digest
from orchestrator.objective.splits import SplitRows, Splitter, key_of, normalised, rule_of
from orchestrator.objective.splits.table import refuse_overlap

SOURCE = Source(origin=Origin.LOCAL, name="rows.csv")
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(rows: list[tuple[str, int, str]], *, grouped: bool = False) -> datasets.Dataset:
    columns = {"text": [row[0] for row in rows], "label": [row[1] for row in rows]}
    return datasets.Dataset.from_dict({**columns, "group": [row[2] for row in rows]} if grouped else columns)


def plan(validation: int, test: int, *, train: int | None = None, seed: int = 0, rule: int = 2) -> DataPlan:
    return DataPlan(source=SOURCE, train=train, validation=validation, test=test, seed=seed, split_rule=rule)


def split_rows(
    rows: datasets.Dataset, wanted: DataPlan, splitter: Splitter | None = None
) -> tuple[datasets.Dataset, datasets.Dataset, datasets.Dataset]:
    """Split, and check that each row is in a split or counted."""
    result = (splitter or Splitter()).split(rows, wanted)
    assert sum(map(len, splits_of(result))) + sum(result.dropped.values()) == len(rows)
    return splits_of(result)


def splits_of(result: SplitRows) -> tuple[datasets.Dataset, datasets.Dataset, datasets.Dataset]:
    return result.train, result.validation, result.test


def texts(*splits: datasets.Dataset, rule: int = 2) -> list[set[str]]:
    """Return the texts of each split, normalised for the comparison across splits."""
    return [{rule_of(rule).forms(text).near for text in rows["text"]} for rows in splits]


rules = st.sampled_from([1, 2])


@st.composite
def rows_of(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """60 to 200 rows with uneven labels and document sizes; some copies differ in case and signs.

    A third of the texts have five words.
    """
    generator = random.Random(draw(st.integers(0, 10_000)))
    number = draw(st.integers(60, 200))
    share = draw(st.floats(0.15, 0.85))
    documents = draw(st.integers(20, 60))

    def text(row: int, start: str) -> str:
        return f"{start} {row}" + (" of three words" if row % 3 == 0 else "")

    rows = [
        (text(i, "text"), int(generator.random() < share), str(generator.randrange(documents))) for i in range(number)
    ]
    drawn = [generator.randrange(number) for _ in range(number // 5)]
    copies = [(f"  {text(i, generator.choice(('TEXT,', 'text')))}!", generator.randrange(2), "0") for i in drawn]
    mixed = rows + copies
    generator.shuffle(mixed)
    return mixed


@given(rows=rows_of(), seed=st.integers(0, 1000), grouped=st.booleans(), rule=rules)
@quick
def test_splits_are_disjoint_sized_and_reproducible(
    rows: list[tuple[str, int, str]], seed: int, grouped: bool, rule: int
) -> None:
    wanted = plan(8, 10, seed=seed, rule=rule)
    train, validation, test = split_rows(table(rows, grouped=grouped), wanted)
    assert (len(validation), len(test)) == (8, 10)
    seen = texts(train, validation, test, rule=rule)
    assert sum(map(len, seen)) == len(set.union(*seen))
    exact = [text.strip() for split in (train, validation, test) for text in split["text"]]
    assert len(exact) == len(set(exact)) == len(train) + 18
    again = split_rows(table(rows, grouped=grouped), wanted)
    assert [split.to_dict() for split in again] == [split.to_dict() for split in (train, validation, test)]


@given(rows=rows_of(), seed=st.integers(0, 1000))
@quick
def test_groups_are_not_split(rows: list[tuple[str, int, str]], seed: int) -> None:
    splits = split_rows(table(rows, grouped=True), plan(8, 10, seed=seed))
    groups = [set(split["group"]) for split in splits]
    assert sum(map(len, groups)) == len(set.union(*groups))


@given(rows=rows_of(), seed=st.integers(0, 1000))
@quick
def test_labels_are_stratified(rows: list[tuple[str, int, str]], seed: int) -> None:
    # Rows excluded as similar may have any label and shift the proportions: each form once excludes none.
    distinct = [*{rule_of(2).forms(text).near: (text, label, group) for text, label, group in rows}.values()]
    train, validation, test = split_rows(table(distinct), plan(10, 20, seed=seed))
    assert len(train) + 30 == len(distinct)
    remaining = [label for split in (train, validation, test) for label in split["label"]]
    for split in (test, validation):  # in the order of drawing
        expected = len(split) * sum(remaining) / len(remaining)
        assert abs(sum(split["label"]) - expected) <= 0.5 + 1e-9  # largest remainder of two classes
        remaining = remaining[: -len(split)]


@given(rows=rows_of(), seed=st.integers(0, 1000))
@quick
def test_train_size_and_row_order_keep_test(rows: list[tuple[str, int, str]], seed: int) -> None:
    small = split_rows(table(rows), plan(8, 10, train=15, seed=seed))
    big = split_rows(table(rows), plan(8, 10, seed=seed))
    assert [split.to_dict() for split in small[1:]] == [split.to_dict() for split in big[1:]]
    assert len(small[0]) == 15
    assert texts(small[0])[0] <= texts(big[0])[0]
    backwards = split_rows(table(rows[::-1]), plan(8, 10, seed=seed))
    assert texts(*backwards) == texts(*big)


def test_another_seed_gives_another_split() -> None:
    rows = table([(f"text {i}", i % 2, "") for i in range(100)])
    assert texts(split_rows(rows, plan(20, 20))[2]) != texts(split_rows(rows, plan(20, 20, seed=1))[2])


def test_rule_one_excludes_copies() -> None:
    rows = [(f"text {i}", i % 2, "") for i in range(10)]
    rows += [("TEXT 1!", 1, ""), ("text 2", 1, ""), (" ", 0, ""), ("text-3", 1, "")]
    result = Splitter().split(table(rows), plan(2, 2, rule=1))
    counted = Counter(normalised(text) for split in splits_of(result) for text in split["text"])
    assert counted == {f"text{i}": 1 for i in (0, 1, 3, 4, 5, 6, 7, 8, 9)}
    assert result.dropped == {"blank text": 1, "copy of another row": 2, "copies with different labels": 2}


@pytest.mark.parametrize(
    "pair",
    [
        ("I like C++ film", "I like C film"),
        (":)", ":("),
        ("करतो", "करते"),
        ("good", "GOOD"),
        ("US", "us"),
        ("good film", "good film!"),
        ("fine \N{GRINNING FACE}", "fine \N{CRYING FACE}"),
        ("3.5", "35"),
        ("-1", "1"),
    ],
)
def test_short_different_texts_are_kept(pair: tuple[str, str]) -> None:
    rows = [*[(pair[0], 1, ""), (pair[1], 0, "")], *[(f"text {i}", i % 2, "") for i in range(20)]]
    result = Splitter().split(table(rows), plan(6, 6))
    assert sum(map(len, splits_of(result))) == 22
    assert result.dropped == {}


def test_exact_copies_are_one_row() -> None:
    rows = [(f"text {i}", i % 2, "") for i in range(10)]
    rows += [(" text 1\n", 1, ""), ("text 2", 1, ""), ("\u200b", 0, ""), ("cafe\u0301", 1, ""), ("caf\u00e9", 1, "")]
    result = Splitter().split(table(rows), plan(2, 2))
    counted = Counter(text.strip() for split in splits_of(result) for text in split["text"])
    assert counted == {**{f"text {i}": 1 for i in range(10) if i != 2}, "cafe\u0301": 1}
    assert result.dropped == {"blank text": 1, "copy of another row": 2, "copies with different labels": 2}


@pytest.mark.parametrize(
    ("variant", "copies"),
    [
        ("What a fine film, number {}!", True),  # five words and more: published copies differ in signs
        ("what a FINE film number {}", True),
        ("what a fine movie number {}", False),
        ("a fine film {}.", False),
    ],
)
def test_long_near_copies_leave_train(variant: str, copies: bool) -> None:
    long = variant.count(" ") >= 4
    original = "what a fine film number {}" if long else "a fine film {}"
    rows = [(original.format(i), i % 2, "") for i in range(30)] + [(variant.format(i), i % 2, "") for i in range(30)]
    result = Splitter().split(table(rows), plan(10, 10))
    assert [len(split) for split in splits_of(result)[1:]] == [10, 10]
    seen = [{key_of(text) for text in split["text"]} for split in splits_of(result)]
    assert not copies or sum(map(len, seen)) == len(set.union(*seen))
    assert set(result.dropped) == (
        {"too similar to a test row", "too similar to a validation row"} if copies else set()
    )


def test_texts_without_spaces_count_characters() -> None:
    forms = rule_of(2).forms
    long, short = "この映画はとても面白かったのでまた見たいです", "とても面白かった"
    assert forms(long + "。").near == forms(long).near
    assert forms(f"{long[:10]}　{long[10:]}！").near == forms(long).near
    assert forms(short + "。").near != forms(short).near
    assert forms("한국어 " * 5).near == forms("한국어, " * 5).near
    assert forms("!" * 30).near != forms("!" * 31).near


def test_rows_without_group_are_separate_groups() -> None:
    groups = [None, float("nan"), "", "  "]
    rows = datasets.Dataset.from_dict(
        {
            "text": [f"text {i}" for i in range(60)],
            "label": [0, 1] * 30,
            "group": [f"c{i}" if i % 3 == 0 else groups[i % 4] if i % 4 != 1 else None for i in range(60)],
        }
    )
    numbers = datasets.Dataset.from_dict(
        {
            "text": rows["text"][:],
            "label": rows["label"][:],
            "group": [1.0 if i < 3 else float("nan") for i in range(60)],
        }
    )
    for data in (rows, numbers):
        result = Splitter().split(data, plan(10, 10))
        assert sum(map(len, splits_of(result))) >= 58
    with pytest.raises(DataError, match="group stands in another split"):
        Splitter().split(rows.remove_columns("group").add_column("group", [None] * 60), plan(5, 5, rule=1))


def test_copies_have_equal_text_and_target() -> None:
    texts_ = [f"an article of five words {i // 2}" for i in range(40)]
    rows = datasets.Dataset.from_dict({"text": [*texts_, texts_[0], "x"], "head": [*map(str, range(40)), "0", " "]})
    result = Splitter(label=None, target="head").split(rows, plan(10, 10))
    assert [len(split) for split in splits_of(result)] == [20, 10, 10]
    seen = [set(split["text"]) for split in splits_of(result)]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 20
    assert result.dropped == {"copy of another row": 1, "no target": 1}
    assert Splitter(label=None, target="head").split(rows, plan(5, 5, rule=1)).dropped["copy of another row"] == 21


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(DataError, match="split by rule 9; this release knows the rules 1, 2"):
        Splitter().split(table([(f"text {i}", 0, "") for i in range(9)]), plan(1, 1, rule=9))


def test_missing_texts_are_blank() -> None:
    rows = datasets.Dataset.from_dict({"text": ["a", None, "b", "c", ""], "label": [0, 0, 0, 0, 0]})
    assert sorted(text for split in split_rows(rows, plan(1, 1)) for text in split["text"]) == ["a", "b", "c"]


def test_too_few_rows_message_has_counts() -> None:
    rows = table([("a", 0, ""), ("A.", 0, ""), ("b", 1, ""), ("B", 0, ""), ("", 0, ""), ("c", 0, ""), ("d", 1, "")])
    message = (
        r"test 2 \+ validation 2 \+ train at least 1 rows need 5 rows; rows.csv \(7 rows; excluded: "
        r"blank text 1, copy of another row 1, copies with different labels 2\) has 3 usable rows\. Add rows\."
    )
    with pytest.raises(DataError, match=message):
        split_rows(rows, plan(2, 2, rule=1))
    with pytest.raises(DataError, match="validation needs at least 1 row, got 0"):
        split_rows(rows, plan(0, 1))


def test_too_large_groups_message_has_counts() -> None:
    rows = table([(f"text {i}", 0, "one") for i in range(50)], grouped=True)
    with pytest.raises(
        DataError,
        match=r"validation needs 5 rows and 0 are left \(50 rows; excluded: group stands in another split 45\)",
    ):
        split_rows(rows, plan(5, 5))


def test_a_row_in_two_splits_is_an_error() -> None:
    def check(splits: dict[str, list[str]], rule: int = 2) -> None:
        forms = rule_of(rule).forms
        refuse_overlap([(name, [forms(text).near for text in rows], rows) for name, rows in splits.items()])

    check({"train": ["a", "b"], "test": ["c"]})
    check({"train": ["Good film!", "b"], "test": ["good  film"]})
    with pytest.raises(DataError, match=r"a row is in both train and test: 'good  film'"):
        check({"train": ["Good film!", "b"], "test": ["good  film"]}, rule=1)
    with pytest.raises(DataError, match=r"a row is in both validation and test: 'a good film it was'"):
        check({"validation": ["A good film, it WAS!"], "test": ["a good film it was"]})


def test_texts_without_letters_are_distinguished() -> None:
    assert normalised(":)") != normalised(":(")
    assert normalised("Très  BIEN !") == normalised("très bien!")
    assert normalised("ﬁne") == normalised("fine")


def test_shift_rows_are_stratified_and_exclude_train() -> None:
    train = table([(f"text {i}", 0, "") for i in range(20)])
    other = table([(f"TEXT {i}", int(i % 4 == 0), "") for i in range(120)] + [("Text 100.", 1, "")])
    shift, dropped = Splitter().shift(other, train, 40, plan(1, 1, rule=1))
    assert len(shift) == 40
    assert texts(shift, rule=1)[0].isdisjoint(texts(train, rule=1)[0])
    assert Counter(shift["label"]) == {0: 30, 1: 10}
    assert dropped == {
        "copy of another row": 1,
        "too similar to a training row": 20,
        "more rows than data.shift_rows asks for": 60,
    }
    assert len(Splitter().shift(other, train, 1000, plan(1, 1, rule=1))[0]) == 100


def test_splits_work_without_labels() -> None:
    rows = datasets.Dataset.from_dict({"text": [f"text {i}" for i in range(30)], "headline": ["h"] * 30})
    train, validation, test = split_rows(rows, plan(5, 5), Splitter(label=None))
    assert (len(train), len(validation), len(test)) == (20, 5, 5)
    assert train.column_names == ["text", "headline"]


def test_digest_is_of_json_lines() -> None:
    rows = datasets.Dataset.from_dict({"text": ["a", "é", None], "label": [1, 0, 2], "group": [[1], [], [2, 3]]})
    lines = b"".join(json.dumps(row, sort_keys=True).encode() + b"\n" for row in rows)
    assert digest(rows) == hashlib.sha256(lines).hexdigest()[:16], "ledgers contain digests of this form"
    assert digest(rows.select([0, 2])) != digest(rows.select([2, 0]))
    assert digest(rows.select([])) == hashlib.sha256(b"").hexdigest()[:16]
