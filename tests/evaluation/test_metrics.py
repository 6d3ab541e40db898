"""Metrics and the baseline against values worked out by hand."""

import datasets
import pytest

from orchestrator.evaluation.baseline import tfidf_baseline
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.objective.protocol import Splits


def test_accuracy_and_macro_f1_by_hand() -> None:
    # class 0: precision 1/2, recall 1 -> F1 2/3; class 1: precision 1, recall 1/2 -> F1 2/3; class 2: absent -> 0
    measured = classification_metrics([(0, 0), (0, 1), (1, 1)], 3)
    assert measured == {"accuracy": pytest.approx(2 / 3), "macro_f1": pytest.approx(4 / 9)}


def rows(texts: list[str], labels: list[int]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"text": texts, "label": labels})


def test_the_baseline_learns_words_and_is_the_same_again() -> None:
    train = rows([f"good film {i}" for i in range(20)] + [f"bad film {i}" for i in range(20)], [1] * 20 + [0] * 20)
    held = rows(["a good one", "a bad one"], [1, 0])
    wrong = rows(["good", "bad"], [0, 1])
    splits = Splits(train=train, validation=held, test=held, shift={"irony": wrong, "none": rows([], [])})
    measured = tfidf_baseline(splits, 2)
    assert measured["val/accuracy"] == measured["test/macro_f1"] == 1.0
    assert measured["shift/irony/accuracy"] == 0.0
    assert measured["val/loss"] < 0.3 < measured["shift/irony/loss"]
    assert not any(name.startswith("shift/none") for name in measured)
    assert tfidf_baseline(splits, 2) == measured


def test_a_class_that_train_lacks_costs_a_finite_loss() -> None:
    train = rows([f"good {i}" for i in range(5)] + [f"bad {i}" for i in range(5)], [2] * 5 + [0] * 5)
    splits = Splits(train=train, validation=rows(["good", "odd"], [2, 1]), test=rows(["bad"], [0]), shift={})
    measured = tfidf_baseline(splits, 3)
    assert measured["val/accuracy"] == 0.5
    assert 10 < measured["val/loss"] < 20
