"""Classes found in the data: their names, their order, and the columns without classes."""

from pathlib import Path
from typing import Any

import pytest

from objectives import classification
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.labels.class_ids import LabelReader
from orchestrator.objective.loading import objective_facts, with_classes

PLACE = "column label of rows.csv"


def found(
    values: list[Any], names: list[str] | None = None, **mapping: str | None
) -> tuple[Any, str, list[int | None]]:
    reader = LabelReader(task="any", classes=(), mapping=mapping)
    ids = reader.read(values, names, PLACE)
    return reader.classes, reader.class_order, ids


@pytest.mark.parametrize(
    ("values", "names", "mapping", "classes", "order", "ids"),
    [
        (["dog", "Cat", "ant"], None, {}, ("ant", "Cat", "dog"), "by name", [2, 1, 0]),
        (["cat", " cat", "Cat", "dog", None, ""], None, {}, ("cat", "dog"), "by name", [0, 0, 0, 1, None, None]),
        (["a b", "a  b", "A\u00a0b", "a b", "c"], None, {}, ("a b", "c"), "by name", [0, 0, 0, 0, 1]),
        ([10, 9, 10.0], None, {}, ("9", "10"), "by number", [1, 0, 1]),
        (["10", "9", "-1"], None, {}, ("-1", "9", "10"), "by number", [2, 1, 0]),
        (["2", "10", "many"], None, {}, ("2", "10", "many"), "by name", [0, 1, 2]),
        ([True, False], None, {}, ("false", "true"), "by name", [1, 0]),
        ([1, 0, -1], ["zebra", "ant"], {}, ("zebra", "ant"), "the data set's own order", [1, 0, None]),
        ([0, 1, 2], ["0", "1", "2"], {}, ("0", "1", "2"), "by number", [0, 1, 2]),
        ([1, 0, 2], ["a", "b", "c"], {"c": "a"}, ("a", "b"), "the data set's own order", [1, 0, 0]),
        (["n", "y"], None, {"y": "yes", "n": "no"}, ("yes", "no"), "the order of data.labels", [1, 0]),
        (["n", "y", "b"], None, {"y": "yes"}, ("yes", "b", "n"), "the order of data.labels, then by name", [2, 0, 1]),
        (["n", "y", "?"], None, {"?": None}, ("n", "y"), "by name", [0, 1, None]),
        (["1.0", "2.0", "1", "10"], None, {}, ("1", "2", "10"), "by number", [0, 1, 0, 2]),
    ],
)  # fmt: skip
def test_classes_have_a_stated_order(
    values: list[Any],
    names: list[str] | None,
    mapping: dict[str, str | None],
    classes: tuple[str, ...],
    order: str,
    ids: list[int | None],
) -> None:
    assert found(values, names, **mapping) == (classes, order, ids)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.0], r"real numbers \(row 1: 0\.5\).*data\.columns\.label"),
        (["1", "2.75"], r"real numbers \(row 2: 2\.75\)"),
        (["spam"] * 3, "only the value 'spam' in 3 labelled rows"),
        ([None, ""], "no value in 0 labelled rows"),
        ([f"row {index}" for index in range(30)], "30 different values in 30 rows.*not labels"),
        ([[1], [2]], "lists or mappings"),
    ],
)
def test_columns_without_classes_are_refused(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^{PLACE} has .*{message}"):
        found(values)


def write(path: Path, words: dict[str, str], rows: int = 12) -> Source:
    lines = [f"a text number {index} of {word},{label}" for word, label in words.items() for index in range(rows)]
    path.write_text("text,label\n" + "\n".join(lines) + "\n")
    return Source(origin=Origin.LOCAL, name=str(path))


def test_found_classes_apply_to_shift_sets(tmp_path: Path) -> None:
    task = classification.OBJECTIVE
    source = write(tmp_path / "a.csv", {"x": "low", "y": "high"})
    plan = DataPlan(source=source, validation=4, test=4, shift={"late": write(tmp_path / "b.csv", {"z": "low"})})
    splits = task.splits(plan)
    assert splits.summary.classes == ("high", "low")
    assert {*splits.shift["late"]["label"]} == {1}
    bound = with_classes(task, splits.summary.classes)
    assert (bound.labels, task.labels) == (("high", "low"), ())
    assert objective_facts("classification").labels is None
    odd = DataPlan(source=source, validation=4, test=4, shift={"late": write(tmp_path / "c.csv", {"z": "medium"})})
    with pytest.raises(DataError, match=r"^data\.shift\.late: .*'medium' \(row 1\) is not a class of classification"):
        task.splits(odd)
