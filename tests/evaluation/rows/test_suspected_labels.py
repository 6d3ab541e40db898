"""Suspected label errors: planted flips are found in simulated probabilities, and listed with their texts."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.rows.suspected_labels import (
    FILE,
    SuspectedLabel,
    count_suspected_labels,
    label_limit,
    suspected_labels,
    write_suspected_labels,
)


def simulated(classes: int, seed: int, rows: int = 1000, sharpness: float = 4.0) -> tuple[list[RowMeasures], set[int]]:
    """Return the rows of three adapters, right on about 99 %, and the 5 % of the rows with a flipped label."""
    draw = np.random.default_rng(seed)
    true = draw.integers(classes, size=rows)
    flipped = draw.choice(rows, size=rows // 20, replace=False)
    given = true.copy()
    given[flipped] = (true[flipped] + draw.integers(1, classes, size=len(flipped))) % classes
    hard = draw.normal(size=(rows, classes))
    adapters = []
    for _ in range(3):
        logits = 0.8 * hard + 0.6 * draw.normal(size=(rows, classes))
        logits[np.arange(rows), true] += sharpness
        logits *= 2
        adapters.append(
            RowMeasures(
                losses=(0.0,) * rows,
                units=(1.0,) * rows,
                predictions=tuple(logits.argmax(axis=1).tolist()),
                references=tuple(given.tolist()),
                logits=tuple(map(tuple, logits.tolist())),
            )
        )
    return adapters, {int(row) for row in flipped}


@pytest.mark.parametrize(("classes", "sharpness"), [(2, 4.0), (4, 4.0), (77, 6.0)])
def test_finds_planted_flips(classes: int, sharpness: float) -> None:
    adapters, flipped = simulated(classes, seed=classes, sharpness=sharpness)
    found = {each.row for each in suspected_labels([{"test": each} for each in adapters])}
    assert len(found & flipped) >= 0.8 * len(flipped)
    assert len(found - flipped) <= 0.02 * 1000


def test_every_good_adapter_must_disagree() -> None:
    adapters, _ = simulated(2, seed=3)
    found = suspected_labels([{"validation": each} for each in adapters])
    row = found[0].row
    agreeing = [*adapters[1].logits]
    agreeing[row] = (agreeing[row][1], agreeing[row][0])
    others = [adapters[0], replace(adapters[1], logits=tuple(agreeing)), adapters[2]]
    assert row not in {each.row for each in suspected_labels([{"validation": each} for each in others])}
    assert found[0].quality == min(each.quality for each in found)
    assert found[0].suggested == adapters[0].predictions[row] != found[0].given


def test_weak_and_diverged_adapters_hide_nothing() -> None:
    adapters, _ = simulated(2, seed=3)
    good = [{"test": each} for each in adapters]
    weak = replace(adapters[0], logits=((5.0, -5.0),) * 1000)
    diverged = replace(adapters[0], logits=((float("nan"),) * 2,) * 1000)
    assert suspected_labels([*good, {"test": weak}, {"test": diverged}]) == suspected_labels(good)


def test_labels_of_one_class_are_not_judged() -> None:
    adapters, _ = simulated(2, seed=3)
    same = replace(adapters[0], references=(1,) * 1000)
    assert suspected_labels([{"test": same}]) == ()
    assert suspected_labels([]) == ()


def test_file_lists_texts_and_labels(tmp_path: Path) -> None:
    assert count_suspected_labels(tmp_path) is None
    validation, _ = simulated(2, seed=5, rows=100)
    test, flipped = simulated(2, seed=6, rows=200)
    pairs = zip(validation, test, strict=True)
    found = suspected_labels([{"validation": first, "test": second} for first, second in pairs])
    texts = {split: [f"{split}, row {row}" for row in range(200)] for split in ("validation", "test")}
    write_suspected_labels(tmp_path, found, ("no", "yes"), texts)
    with (tmp_path / FILE).open(encoding="utf-8", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    assert len(rows) == len(found)
    assert all(row["text"] == f"{row['split']}, row {row['row']}" for row in rows)
    assert all({row["given_label"], row["suggested_label"]} == {"no", "yes"} for row in rows)
    listed = {int(row["row"]) for row in rows if row["split"] == "test"}
    assert len(listed & flipped) >= 0.8 * len(flipped)
    counts = count_suspected_labels(tmp_path)
    assert counts is not None
    assert counts["test"] == len(listed)
    assert sum(counts.values()) == len(rows)
    (tmp_path / FILE).write_bytes(b"\xff")
    assert count_suspected_labels(tmp_path) is None


def test_limit_is_the_score_without_other_errors(tmp_path: Path) -> None:
    references, labels = (0, 0, 0, 1, 1, 2, 2, 2), ("a", "b", "c")
    found = [SuspectedLabel(split="test", row=row, given=references[row], suggested=0, quality=0.1) for row in (3, 5)]
    write_suspected_labels(tmp_path, found, labels, {"test": ["a" * 200_000] * 8})
    rows = RowMeasures(losses=(0.5,) * 8, units=(1.0,) * 8, predictions=(*references[1:], 0), references=references)
    right = {"accuracy": 5 / 8, "macro_f1": 11 / 18, "weighted_f1": 5 / 8, "auroc": 0.5}
    measured = Measurement(metrics=right, rows=rows)

    def limit(metric: str, of: Measurement = measured, split: str = "test") -> float | None:
        return label_limit(tmp_path, split, of, labels, metric)

    assert limit("accuracy") == 6 / 8
    assert limit("macro_f1") == pytest.approx((6 / 8 + 2 / 3 + 4 / 5) / 3)
    assert limit("weighted_f1") == pytest.approx((3 * 6 / 8 + 2 * 2 / 3 + 3 * 4 / 5) / 8)
    assert limit("auroc") is None
    assert limit("accuracy", split="validation") is None
    assert limit("accuracy", Measurement(metrics={"accuracy": 62.5}, rows=rows)) is None  # an objective's own
    other = replace(rows, predictions=references[:3], references=references[:3])
    assert limit("accuracy", Measurement(metrics={"accuracy": 1.0}, rows=other)) is None  # another sweep's file
