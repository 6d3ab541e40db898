"""Class ids of labels, and the errors for uncertain labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import datasets
import numpy as np
import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError, UserError
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.labels.class_ids import LabelReader
from orchestrator.objective.labels.counts import summary_warnings
from orchestrator.objective.loading import load_objective
from orchestrator.objective.padding import pad

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOOD = ("negative", "positive")
STARS = ("1", "2", "3", "4", "5")
RATINGS = ("bad", "fair", "good", "great")


def reader(classes: tuple[str, ...], mapping: dict[str, str | None] | None = None) -> LabelReader:
    return LabelReader(task="mood", classes=classes, mapping=mapping or {})


def read(
    classes: tuple[str, ...], values: list[Any], names: list[str] | None = None, **mapping: str | None
) -> list[int | None]:
    return reader(classes, mapping).read(values, names, "column label of rows.csv")


@pytest.mark.parametrize(
    ("classes", "values", "ids"),
    [
        (("true", "false"), [True, False], [0, 1]),
        (("FALSE", "True"), [True, np.bool_(False)], [1, 0]),
        (("true", "false"), ["True", "FALSE"], [0, 1]),
        (("true", "false"), [1, 0], [0, 1]),
        (STARS, [1, 2, 3, 4], [0, 1, 2, 3]),
        (STARS, [np.int8(5), np.int64(1)], [4, 0]),
        (STARS, ["5", "1"], [4, 0]),
        (STARS, [5.0, None, float("nan")], [4, None, None]),
        (STARS, ["5.0", ""], [4, None]),
        (("01", "02"), [1, 2], [0, 1]),
        (("2", "1", "0"), [2, 0], [0, 2]),
        (("2", "1", "0"), ["2", "0"], [0, 2]),
        (("0", "1", "other"), ["other", "1"], [2, 1]),
        (MOOD, ["0", "1"], [0, 1]),
        (MOOD, [0, None, 1], [0, None, 1]),
        (MOOD, [0.0, 1.0], [0, 1]),
        (MOOD, ["Negative ", " POSITIVE"], [0, 1]),
        (("us", "US"), ["US", "us"], [1, 0]),
        (("None", "N/A"), ["None", "N/A", None], [0, 1, None]),
        (RATINGS, [0, 3], [0, 3]),
        (("false", "true", "unsure"), [1, 0, 2], [1, 0, 2]),
        (("café", "thé"), ["cafe\u0301"], [0]),
    ],
)
def test_certain_labels_are_read(classes: tuple[str, ...], values: list[Any], ids: list[int | None]) -> None:
    assert read(classes, values) == ids


@pytest.mark.parametrize(
    ("classes", "values", "message"),
    [
        (("yes", "no"), [True, False], r'are not classes of mood.*set data.labels: \{true: "yes", false: "no"\}'),
        (("sad", "happy"), [False], r"'false' \(row 1\) is not a class of mood. The classes are sad, happy\."),
        (STARS, [0, 1], r"'0' \(row 1\) is not a class of mood. The classes are 1, 2, 3, 4, 5\."),
        (STARS, ["01"], r"'01' \(row 1\) is not a class"),
        (("true", "false", "unsure"), [0, 1], r"Set data.labels: \{0: CLASS, 1: CLASS\}"),
        (("1 star", "2 stars"), [1, 2], r'set data.labels: \{1: "1 star", 2: "2 stars"\}'),
        (MOOD, [1, 2], r"'2' \(row 2\) is not a class.*set data.labels: \{1: negative, 2: positive\}"),
        (("low", "mid", "high"), [-1, 0, 1], r"set data.labels: \{-1: low, 0: mid, 1: high\}"),
        (MOOD, ["neg", "pos"], r"set data.labels: \{neg: negative, pos: positive\}"),
        (MOOD, ["positive", "0"], r"'0' \(row 2\) is not a class"),
        (("us", "US"), ["Us"], r"'Us' \(row 1\) is not a class of mood. The classes are us, US"),
        (MOOD, [0.0, 0.42, 1.0], r"has real numbers \(row 2: 0.42\).*For numbers, set objective: regression"),
        (MOOD, ["0.42", "0.9"], r"has real numbers \(row 1: 0.42\).*For numbers, set objective: regression"),
        (MOOD, [["positive"], ["negative"]], r"has lists or mappings \(row 1: \['positive'\]\).*one label per row"),
        (MOOD, [{"a": 1}], "has lists or mappings"),
        (MOOD, [np.array([0, 1])], "has lists or mappings"),
        (MOOD, [None, ""], "none of 2 rows has a label"),
        (RATINGS, [1, 2, 3], r"numbers from 1 to 3 and no 0; the 4 classes of mood may count from 1 or from 0"),
        (
            RATINGS,
            ["1.0", "3.0", None],
            r"set data.labels: \{1: bad, 3: good\} or set data.labels: \{1: fair, 3: great\}",
        ),
        (MOOD, [0, 1, -1], r"set data.labels: \{-1: null\}"),
        (MOOD, ["a whole text " * 9, "b"], r"first 'a whole text .*…' \(row 1\).*check data.columns.label"),
    ],
)
def test_uncertain_labels_are_refused(classes: tuple[str, ...], values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(classes, values)
    assert str(caught.value).startswith("column label of rows.csv")
    assert "\n" not in str(caught.value)


def test_class_names_of_the_column_come_first() -> None:
    assert read(MOOD, [0, 1, -1], ["Positive", "negative"]) == [1, 0, None]
    assert read(("a", "b", "c"), [1], ["x", "b"]) == [1]  # an unused name needs no class
    assert read(MOOD, [0, 1, -1], ["0", "1"]) == [0, 1, None]  # ClassLabel(num_classes=2) has no names of its own
    assert read(STARS, [0, 4], [*STARS]) == [0, 4]


def test_other_class_names_are_refused_with_both_lists() -> None:
    with pytest.raises(DataError, match=r"class names pos, neg\. The classes are negative, positive\.") as caught:
        read(MOOD, [0, 1], ["pos", "neg"])
    assert "set data.labels: {pos: positive, neg: negative}" in str(caught.value)
    with pytest.raises(DataError, match=r"set data.labels: \{LABEL_0: CLASS, LABEL_1: CLASS\}|Set data.labels"):
        read(MOOD, [0, 1], ["LABEL_0", "LABEL_1"])


@pytest.mark.parametrize(
    ("values", "names", "mapping", "ids"),
    [
        ([0, 1], ["pos", "neg"], {"pos": "positive", "neg": "negative"}, [1, 0]),
        (["neg", "pos", "neutral"], None, {"neg": "negative", "pos": "positive", "neutral": None}, [0, 1, None]),
        ([1, 2, -1], None, {"1": "negative", "2": "positive", "-1": None}, [0, 1, None]),
        ([0, 1, -1], None, {"-1": None}, [0, 1, None]),
        (["1.0", "2.0"], None, {"1": "negative", "2": "positive"}, [0, 1]),
        ([True, False], None, {"True": "negative", "false": "positive"}, [0, 1]),
        ([0.0, 0.5], None, {"0.0": "negative", "0.5": "positive"}, [0, 1]),
        (["neg", "positive"], None, {"neg": "negative"}, [0, 1]),
        ([0, 1, -1], ["negative", "positive"], {"-1": "negative"}, [0, 1, 0]),
        ([1, -1], None, {"+1": "positive", "-1": "negative"}, [1, 0]),
        (["+1", "-1"], None, {"+1": "positive", "-1": "negative"}, [1, 0]),
        (["None", None, "Some"], None, {"None": "negative", "some": "positive"}, [0, None, 1]),
        (["", None, "pos"], None, {"": "negative", "pos": "positive"}, [0, 0, 1]),
        ([None, 0], ["none", "some"], {"none": "negative"}, [None, 0]),
    ],
)
def test_data_labels_decides(
    values: list[Any], names: list[str] | None, mapping: dict[str, str | None], ids: list[int | None]
) -> None:
    assert reader(MOOD, mapping).read(values, names, "here") == ids


def test_mapping_excluding_all_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"^here: data\.labels excludes all 2 rows with a label"):
        reader(MOOD, {"0": None, "1": None}).read([0, None, 1], None, "here")


def test_unmapped_number_is_unknown_if_numbers_are_mapped() -> None:
    with pytest.raises(DataError, match=r"'0' \(row 3\) is not a class"):
        reader(MOOD, {"1": "negative", "2": "positive"}).read([1, 2, 0], None, "here")


def test_mapping_and_excluded_rows_are_recorded() -> None:
    one = reader(MOOD, {"neutral": None})
    one.read(["NEGATIVE", "positive", None, "neutral", "neutral"], None, "here")
    assert one.used == {"NEGATIVE": "negative", "positive": "positive"}
    assert {why: count for why, count in one.dropped.items() if count} == {
        "no label": 1,
        "data.labels leaves its label out": 2,
    }


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ('("sad", "happy", "sad")', "label 'sad' is a duplicate"),
        ("(1, 2, 3)", "class names as text without spaces around them, got 1"),
        ('("sad", "happy ")', "got 'happy '"),
        ('("sad", "")', "got ''"),
        ('"sad"', "a tuple of class names, got 'sad'"),
        ('("urgency",)', "labels contain 1 class; a classifier needs at least two"),
    ],
)
def test_class_names_are_checked_at_load(tmp_path: Path, labels: str, message: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from orchestrator.objective.classification import TextClassification\n"
        f"class Own(TextClassification):\n    name, labels = 'own', {labels}\n    default_source = None\n"
        "OBJECTIVE = Own()\n"
    )
    with pytest.raises(UserError, match=message):
        load_objective(str(file))


class Mood(TextClassification):
    name = "mood"
    labels: tuple[str, ...] = MOOD
    default_source = Source(origin=Origin.LOCAL, name="none.csv")


class Measured(Mood):
    """Overrides ``read`` without calling the base."""

    values: tuple[Any, ...] = (0.42, 0.9)

    def read(self, source: Source, columns: Any) -> datasets.Dataset:
        return datasets.Dataset.from_dict(
            {"text": [f"row number {i}" for i in range(40)], "label": [*self.values] * 20}
        )


class Filtered(Mood):
    """Overrides ``read`` and calls the base."""

    def read(self, source: Source, columns: Any) -> datasets.Dataset:
        rows = super().read(source, columns)
        kept: datasets.Dataset = rows.select([i for i, text in enumerate(rows["text"]) if "odd" not in text])
        return kept


def table(path: Path, labels: list[Any], text: str = "row number") -> Source:
    rows = datasets.Dataset.from_dict({"text": [f"{text} {i}" for i in range(len(labels))], "label": labels})
    rows.to_parquet(str(path))
    return Source(origin=Origin.LOCAL, name=str(path))


def plan(source: Source, **changes: Any) -> DataPlan:
    return DataPlan(**{"source": source, "validation": 10, "test": 10, **changes})


def test_the_summary_counts_labels_by_split(tmp_path: Path) -> None:
    source = table(tmp_path / "a.parquet", ["neg", "pos"] * 25 + [None, "", "neutral"])
    shift = table(tmp_path / "b.parquet", ["positive", None, "neg"], "other row")
    mapping = {"neg": "negative", "pos": "positive", "neutral": None}
    summary = Mood().splits(plan(source, shift={"late": shift}, labels=mapping)).summary
    assert summary.labels == {"neg": "negative", "pos": "positive", "positive": "positive"}
    assert summary.label_counts == {
        "train": {"negative": 15, "positive": 15},
        "validation": {"negative": 5, "positive": 5},
        "test": {"negative": 5, "positive": 5},
        "shift/late": {"negative": 1, "positive": 1},
    }
    assert summary.dropped["no label"] == 2
    assert summary.dropped["data.labels leaves its label out"] == 1
    assert summary.dropped["shift/late: no label"] == 1
    scarce = "has fewer than 20 rows of negative"
    assert [warning.partition(" (")[0] for warning in summary.warnings] == [
        f"train {scarce}",
        f"validation {scarce}",
        f"test {scarce}",
    ]
    assert summary.warnings[2] == (
        "test has fewer than 20 rows of negative (5), positive (5): its metrics hardly measure them. Add rows, or "
        "raise data.test."
    )


@pytest.mark.parametrize("classes", [(), MOOD])
def test_absent_keys_of_mapping_are_named(tmp_path: Path, classes: tuple[str, ...]) -> None:
    source = table(tmp_path / "a.parquet", ["negative", "positive", "Negative ", "unsure", "-1"] * 20)
    shift = table(tmp_path / "b.parquet", ["good"] * 20, "other number")
    labels: dict[str, str | None] = {"unsure": None, "-1": None, "NEGATIVE": "negative", "good": "positive"}
    task = Mood()
    task.labels = classes

    def about_labels(mapping: dict[str, str | None]) -> list[str]:
        warnings = task.splits(plan(source, shift={"late": shift}, labels=mapping)).summary.warnings
        return [line for line in warnings if line.startswith("data.labels")]

    assert not about_labels(labels)
    [warning] = about_labels({**labels, "unsur": None, "2": "positive"})
    assert warning == (
        "data.labels: no row has the value unsur (did you mean unsure?) or 2. "
        "The data has -1, Negative, good, negative, positive, unsure. Correct or remove the key."
    )


def test_warns_of_small_classes_alone(tmp_path: Path) -> None:
    source = table(tmp_path / "a.parquet", ["negative", "positive"] * 80)
    assert Mood().splits(plan(source, validation=40, test=40)).summary.warnings == ()
    (warning,) = Mood().splits(plan(source, validation=40, test=38)).summary.warnings
    assert warning.startswith("test has fewer than 20 rows of negative (19), positive (19)")


def test_many_small_classes_are_abbreviated() -> None:
    counts = dict.fromkeys(map(str, range(30)), 3)
    summary = summary_warnings({"train": counts, "validation": {}, "test": {}})
    assert len(summary) == 1
    assert "11 (3), 12 (3)" in summary[0]
    assert "and 18 more classes" in summary[0]


def test_warns_of_classes_absent_from_split(tmp_path: Path) -> None:
    class Three(Mood):
        labels = ("negative", "positive", "mixed")

    source = table(tmp_path / "a.parquet", ["negative", "positive"] * 100)
    warnings = Three().splits(plan(source, validation=40, test=40)).summary.warnings
    assert [warning.partition(":")[0] for warning in warnings] == [
        "train has no rows of mixed",
        "validation has no rows of mixed",
        "test has no rows of mixed",
    ]


def test_one_class_is_refused_before_training(tmp_path: Path) -> None:
    source = table(tmp_path / "a.parquet", ["positive"] * 40)
    with pytest.raises(DataError, match="all 20 training rows have the class positive; a classifier needs"):
        Mood().splits(plan(source))


def test_unreadable_shift_set_is_named(tmp_path: Path) -> None:
    source = table(tmp_path / "a.parquet", ["negative", "positive"] * 20)
    other = table(tmp_path / "b.parquet", ["good", "bad"], "other row")
    with pytest.raises(DataError, match=r"^data\.shift\.late: column label of .*'good'"):
        Mood().splits(plan(source, shift={"late": other}))


def test_shift_ids_need_ids_in_the_data(tmp_path: Path) -> None:
    class Rated(Mood):
        labels = RATINGS

    words = table(tmp_path / "a.parquet", [*RATINGS] * 20)
    ids = table(tmp_path / "b.parquet", [0, 1, 2, 3] * 20)
    shift = table(tmp_path / "c.parquet", [1, 2], "other row")
    with pytest.raises(DataError, match=r"^data\.shift\.late: column label of .* numbers from 1 to 2 and no 0"):
        Rated().splits(plan(words, shift={"late": shift}))
    counts = Rated().splits(plan(ids, shift={"late": shift})).summary.label_counts
    assert counts["shift/late"] == {"bad": 0, "fair": 1, "good": 1, "great": 0}


def test_warns_of_empty_shift_set(tmp_path: Path) -> None:
    source = table(tmp_path / "a.parquet", ["negative", "positive"] * 80)
    splits = Mood().splits(plan(source, validation=40, test=40))
    texts = splits.train["text"][:2]
    shift = table(tmp_path / "b.parquet", ["positive", "negative"])
    datasets.Dataset.from_dict({"text": texts, "label": [0, 1]}).to_parquet(shift.name)
    (warning,) = Mood().splits(plan(source, validation=40, test=40, shift={"late": shift})).summary.warnings
    assert warning.startswith("shift/late has no rows left")


@pytest.mark.parametrize("values", [(0.42, 0.9), (0.0, 1.0), (True, False), (0, 2), ("negative", "positive")])
def test_overridden_read_must_return_ids(values: tuple[Any, ...]) -> None:
    task = Measured()
    task.values = values
    with pytest.raises(DataError, match=r"objective mood: column label has .* a class id from 0 to 1 is needed"):
        task.splits(plan(Source(origin=Origin.LOCAL, name="made up")))


def test_overridden_read_uses_data_labels(tmp_path: Path) -> None:
    source = table(tmp_path / "a.parquet", ["neg", "pos"] * 30)
    mapping = {"neg": "negative", "pos": "positive"}
    assert Filtered().splits(plan(source, labels=mapping)).summary.labels == mapping
    task = Measured()
    task.values = (0, 1)
    with pytest.raises(DataError, match=r"data\.labels: objective mood has its own read"):
        task.splits(plan(source, labels=mapping))


def test_real_labels_are_refused_in_padding() -> None:
    rows = [{"input_ids": [5, 6], "labels": 0.42}, {"input_ids": [7], "labels": 0.9}]

    class Tokenizer:
        pad_token_id = 0

    with pytest.raises(DataError, match="labels are real numbers"):
        pad(rows, cast("PreTrainedTokenizerBase", Tokenizer()))


def one_token(texts: list[str], **_: object) -> dict[str, list[list[int]]]:
    return {"input_ids": [[1]] * len(texts)}


@pytest.mark.parametrize("labels", [[0.42, 0.9], [0, 2], [True, False]])
def test_overridden_splits_must_return_ids(labels: list[Any]) -> None:
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": labels})
    with pytest.raises(DataError, match="objective mood: column label has"):
        Mood().encode(rows, cast("PreTrainedTokenizerBase", one_token), max_length=8)
