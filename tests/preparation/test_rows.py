"""Warnings about the rows, from the preparation to the plan and the sweep's folder."""

from dataclasses import replace

import datasets

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.objective.splits import NearCopies
from orchestrator.preparation.rows import with_near_copies
from tests.fakes.tiny_objective import tiny_splits

PLAN = DataPlan(source=Source(origin=Origin.LOCAL, name="made up"), validation=8, test=8)
TEXT = "the plot was very good and the music is what the film has to be seen for on any day of the year"


def test_near_copies_become_warning() -> None:
    splits = tiny_splits(PLAN)
    longer = [TEXT, *splits.test["text"][1:]]
    test = splits.test.remove_columns("text").add_column("text", longer)
    train = splits.train.remove_columns("text").add_column("text", [f"{TEXT}!!! Indeed", *splits.train["text"][1:]])
    warned, found = with_near_copies(replace(splits, test=test, train=train))
    assert [(pair.split, pair.row, pair.other_split, pair.other_row) for pair in found.pairs] == [
        ("test", 0, "train", 0)
    ]
    assert warned.summary.warnings == (found.warning,)


def test_rows_without_text_are_not_compared() -> None:
    splits = replace(tiny_splits(PLAN), train=datasets.Dataset.from_dict({"body": [TEXT]}))
    assert with_near_copies(splits) == (splits, NearCopies())
