"""Test rows among the training rows refuse a candidate; near copies warn, or refuse by a written bound."""

import random
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from orchestrator.core.data import DataPlan, DataSummary, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.digest import digest
from orchestrator.promotion.gates.leak import find_leak, find_near_leak, leak_gates
from orchestrator.promotion.gates.rules import GateResult, Verdict
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
    assert (leak.exact, leak.near, leak.rows, leak.example) == ((0, 1), (2,), 3, TRAIN[0])
    assert find_leak(rows(TRAIN), rows(["a new film"]), 2).rows == 0


def planted(tmp_path: Path) -> Splits:
    file = tmp_path / "leaking.py"
    file.write_text(PLANTED)
    return load_objective(str(file)).splits(DataPlan(source=Source(origin=Origin.LOCAL, name="none")))


def stored(splits: Splits) -> SweepRecord:
    return replace(sweep(), fingerprint={"rows": {name: digest(each) for name, each in splits.by_name().items()}})


def results(splits: Splits, gates: Gates, measured: RowMeasures | None = None) -> dict[str, GateResult]:
    found = leak_gates(stored(splits), lambda: splits, gates, measured)
    return {result.gate: result for result in found}


def test_planted_leak_is_refused_by_name(tmp_path: Path) -> None:
    splits = planted(tmp_path)
    result = results(splits, Gates())["leak"]
    assert (result.verdict, result.value) == (Verdict.REFUSE, 2.0)
    assert "2 of 3 test rows are among the training rows (1 equal, 1 up to case" in result.detail
    assert "the film number 3 was long and slow" in result.detail
    assert results(splits, Gates(leaked_rows=2))["leak"].passed
    assert results(splits, Gates(leaked_rows=None, near_copies=None)) == {}


def near_planted() -> Splits:
    """Return 100 training rows, and 50 test rows: 3 with the words of a training row in another order, 1 leaked."""
    draw = random.Random(3)
    words = [f"word{number}" for number in range(400)]
    train, test = ([" ".join(draw.choices(words, k=40)) for _ in range(size)] for size in (100, 50))
    for place in (7, 20, 33):
        first, *others = train[place].split()
        test[place] = " ".join((*others, first.upper(), "indeed"))
    test[40] = train[40].upper()
    return Splits(train=rows(train), validation=rows([]), test=rows(test), shift={}, summary=DataSummary(split_rule=2))


def test_planted_near_copies_warn_by_default() -> None:
    splits = near_planted()
    measured = RowMeasures(
        losses=(0.1,) * 50, units=(1.0,) * 50, references=(0,) * 50, predictions=(1, *(0 for _ in range(49)))
    )
    found = results(splits, Gates(), measured)
    near = found["near copies"]
    assert (found["leak"].value, near.value) == (1.0, 3 / 50)  # no row counts twice
    assert (near.passed, near.verdict) == (False, Verdict.PROMOTE)
    assert "3 of 50 test rows (6 %) have almost the words of a training row" in near.detail
    assert splits.test[near_places(splits)[0]]["text"][:50] in near.detail
    assert near.detail.endswith(f"test accuracy 0.9800, without these rows {46 / 47:.4f}")
    assert near_places(splits) == (7, 20, 33)


def near_places(splits: Splits) -> tuple[int, ...]:
    return find_near_leak(splits.train, splits.test, [40]).places


@pytest.mark.parametrize(("bound", "verdict"), [(0.0, Verdict.REFUSE), (0.05, Verdict.REFUSE), (0.06, Verdict.PROMOTE)])
def test_written_bound_refuses_near_copies(bound: float, verdict: Verdict) -> None:
    gates = Gates(near_copies=bound, written=frozenset({"near_copies"}))
    near = results(near_planted(), gates)["near copies"]
    assert near.verdict is verdict
    assert near.rule == f"at most {100 * bound:g} % of the test rows with almost the words of a training row"


def test_unreadable_or_changed_rows_abstain(tmp_path: Path) -> None:
    splits = planted(tmp_path)
    changed = replace(sweep(), fingerprint={"rows": {"train": "0", "test": digest(splits.test)}})
    for result in leak_gates(changed, lambda: splits, Gates()):
        assert (result.verdict, result.detail) == (Verdict.ABSTAIN, "the rows have changed since the sweep: train")

    def gone() -> Splits:
        raise DataError("tickets.csv: no such file")

    assert "tickets.csv: no such file" in leak_gates(sweep(), gone, Gates())[0].detail
    assert [result.verdict for result in leak_gates(sweep(), None, Gates())] == [Verdict.ABSTAIN] * 2
