"""Test rows among the training rows refuse a candidate."""

from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.digest import digest
from orchestrator.promotion.gates import Verdict
from orchestrator.promotion.leak import find_leak, leak_gate
from tests.tracking.records import sweep

TRAIN = ["a film that I will never forget", "dull", "The plot is thin, but the actors are great."]
PLANTED = '''
import datasets
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.protocol import Splits
from orchestrator.core.data import DataSummary, Origin, Source


def rows(texts):
    return datasets.Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(len(texts))]})


class Leaking(TextClassification):
    """Its own test split holds two training rows."""

    name = "leaking"
    labels = ("bad", "good")
    default_source = Source(origin=Origin.LOCAL, name="none")

    def splits(self, plan):
        train = [f"the film number {row} was long and slow" for row in range(40)]
        test = ["an entirely new review of a new film", train[3], "The film, number 7, was long and slow!"]
        return Splits(train=rows(train), validation=rows(["x y z", "u v"]), test=rows(test), shift={},
                      summary=DataSummary(split_rule=2))


OBJECTIVE = Leaking()
'''


def rows(texts: list[str], column: str = "text") -> datasets.Dataset:
    return datasets.Dataset.from_dict({column: texts, "label": [0] * len(texts)})


@pytest.mark.parametrize("column", ["text", "document"])
def test_exact_and_near_copies_are_counted(column: str) -> None:
    test = [*TRAIN[:2], "the plot is thin but the ACTORS are great", "Dull!", "a new film", ""]
    leak = find_leak(rows([*TRAIN, ""], column), rows(test, column), 2)
    assert (leak.exact, leak.near, leak.rows, leak.example) == (2, 1, 3, TRAIN[0])
    assert find_leak(rows(TRAIN), rows(["a new film"]), 2).rows == 0


def planted(tmp_path: Path) -> Splits:
    file = tmp_path / "leaking.py"
    file.write_text(PLANTED)
    return load_objective(str(file)).splits(DataPlan(source=Source(origin=Origin.LOCAL, name="none")))


def test_planted_leak_is_refused_by_name(tmp_path: Path) -> None:
    splits = planted(tmp_path)
    digests = {name: digest(each) for name, each in splits.by_name().items()}
    stored = replace(sweep(), fingerprint={"rows": digests})
    result = leak_gate(stored, lambda: splits, 0)
    assert (result.gate, result.verdict, result.value) == ("leak", Verdict.REFUSE, 2.0)
    assert "2 of 3 test rows are among the training rows (1 equal, 1 up to case" in result.detail
    assert "the film number 3 was long and slow" in result.detail
    assert leak_gate(stored, lambda: splits, 2).passed


def test_unreadable_or_changed_rows_abstain(tmp_path: Path) -> None:
    splits = planted(tmp_path)
    changed = leak_gate(
        replace(sweep(), fingerprint={"rows": {"train": "0", "test": digest(splits.test)}}), lambda: splits, 0
    )
    assert (changed.verdict, changed.detail) == (Verdict.ABSTAIN, "the rows have changed since the sweep: train")

    def gone() -> Splits:
        raise DataError("tickets.csv: no such file")

    assert "tickets.csv: no such file" in leak_gate(sweep(), gone, 0).detail
    assert leak_gate(sweep(), None, 0).verdict is Verdict.ABSTAIN
