"""Slices of the test rows: their names, intervals, and the worst one."""

from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.rows.slices import (
    FILE,
    measured_slices,
    read_slice_columns,
    row_slices,
    worst_slice,
    write_slice_columns,
)
from orchestrator.objective.rows.slice_columns import slice_names, thirds
from orchestrator.statistics.intervals import wilson_interval

ROWS = 600
RIGHT = [row % 300 != 0 and not (300 <= row < 400 and row % 2) for row in range(ROWS)]
"""Rows 300 to 399 are right half of the time."""
MEASURED = RowMeasures(
    losses=tuple(0.1 + (not right) for right in RIGHT),
    units=(1.0,) * ROWS,
    predictions=tuple(int(right) for right in RIGHT),
    references=(1,) * ROWS,
    tokens=tuple(range(1, ROWS + 1)),
)
CHANNEL = ["chat" if 300 <= row < 400 else "rare" if row < 4 else "mail" for row in range(ROWS)]


def test_worst_slice_has_interval_and_rows() -> None:
    slices = measured_slices(MEASURED, {"channel": CHANNEL})
    assert {(each.column, each.name) for each in slices} == {
        ("length", "up to 200 tokens"),
        ("length", "over 200 to 400 tokens"),
        ("length", "over 400 tokens"),
        ("channel", "chat"),
        ("channel", "mail"),
        ("channel", "rare"),
    }
    worst = worst_slice(slices)
    assert worst is not None
    assert (worst.column, worst.name, worst.rows, worst.metric) == ("channel", "chat", 100, "accuracy")
    assert worst.small
    expected = wilson_interval(49, 100, 1 - 0.05 / 6)
    assert (worst.value, worst.low, worst.high) == (expected.value, expected.low, expected.high)
    assert not next(each for each in slices if each.name == "mail").small


def test_few_wrong_rows_are_not_the_worst() -> None:
    """A slice of 4 rows, all wrong, has a wider interval than 100 rows, half of them wrong."""
    wrong = replace(MEASURED, predictions=(0, 0, 0, 0, *MEASURED.predictions[4:]))
    worst = worst_slice(measured_slices(wrong, {"channel": CHANNEL}))
    assert worst is not None
    assert worst.name == "chat"


def test_task_without_classes_has_losses() -> None:
    plain = replace(MEASURED, predictions=(), references=())
    worst = worst_slice(measured_slices(plain, {"channel": CHANNEL}))
    assert worst is not None
    assert (worst.metric, worst.name) == ("loss", "chat")
    assert worst.value == pytest.approx(0.61)
    assert worst.low < worst.value < worst.high


def test_rows_of_early_versions_have_columns_alone() -> None:
    old = replace(MEASURED, tokens=())
    names = ["no" if row % 2 else "yes" for row in range(ROWS)]
    places = row_slices(old, {"label": names, "other": ["a"] * 3, "same": ["a"] * ROWS})
    assert [*places] == [("label", "yes"), ("label", "no")]
    assert places["label", "no"] == tuple(range(1, ROWS, 2))
    assert measured_slices(old, {}) == ()
    assert worst_slice(()) is None


def test_thirds_of_equal_values_are_one() -> None:
    assert {*thirds([7, 7, 7, 7])} == {"up to 7"}
    names = thirds([1, 2, 3, 4, 5, 6], " tokens")
    assert [names.count(name) for name in dict.fromkeys(names)] == [2, 2, 2]


def test_columns_are_divided_by_value_or_thirds() -> None:
    rows = datasets.Dataset.from_dict(
        {
            "text": ["same"] * 60,
            "label": [0, 1] * 30,
            "slice/channel": ["mail"] * 30 + ["chat"] * 15 + [None] * 12 + ["fax"] * 3,
            "price": [float(row) for row in range(59)] + [float("nan")],
            "id": [f"T{row}" for row in range(60)],
        }
    )
    names = slice_names(rows, ("no", "yes"))
    assert names.keys() == {"label", "channel", "price"}
    assert names["label"][:3] == ["no", "yes", "no"]
    assert names["channel"] == ["mail"] * 30 + ["chat"] * 15 + ["(missing)"] * 12 + [None] * 3
    assert names["price"][0] == "up to 19"
    assert names["price"][-2:] == ["over 38", None]


def test_columns_are_read_back(tmp_path: Path) -> None:
    assert read_slice_columns(tmp_path) == {}
    write_slice_columns(tmp_path, {"channel": ["mail", None]})
    assert read_slice_columns(tmp_path) == {"channel": ["mail", None]}
    for content in (b"", b"[1]", b"\xff"):
        (tmp_path / FILE).write_bytes(content)
        assert read_slice_columns(tmp_path) == {}
