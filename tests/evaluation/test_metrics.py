"""Metrics and the baseline compared with values computed by hand."""

import math
from collections.abc import Callable

import datasets
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from scipy.special import softmax

from orchestrator.core.errors import DataError
from orchestrator.evaluation.baseline import choose_analysers, tfidf_baseline
from orchestrator.evaluation.metrics import CLASSIFICATION, classification_metrics
from orchestrator.evaluation.vector_baselines import multi_label_baseline, regression_baseline
from orchestrator.evaluation.vector_metrics import multi_label_metrics, regression_metrics
from orchestrator.objective.protocol import Splits


def test_accuracy_and_macro_f1_by_hand() -> None:
    # class 0: precision 1/2, recall 1 -> F1 2/3; class 1: precision 1, recall 1/2 -> F1 2/3
    measured = classification_metrics([(0, 0), (0, 1), (1, 1)], 2)
    assert measured == {"accuracy": pytest.approx(2 / 3), "macro_f1": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("pairs", "macro_f1"),
    [
        ([(0, 0), (1, 1)], 1.0),  # classes 2 and 3 are absent
        ([(0, 0), (2, 1)], 1 / 3),  # class 2 is only predicted, class 1 never
        ([(3, 3)], 1.0),
    ],
)
def test_macro_f1_omits_absent_classes(pairs: list[tuple[int, int]], macro_f1: float) -> None:
    assert classification_metrics(pairs, 4)["macro_f1"] == pytest.approx(macro_f1)


def test_metrics_of_probabilities_by_hand() -> None:
    # p = (0.5, 0.5) and (0.9, 0.1), true class 0 and 1: Brier 0.5 and 1.62; the class-1 scores order both rows wrongly
    pairs = [([0.0, 0.0], 0), ([math.log(9), 0.0], 1)]
    measured = classification_metrics(pairs, 2, CLASSIFICATION)
    assert measured == {
        "accuracy": 0.5,
        "macro_f1": pytest.approx(1 / 3),
        "weighted_f1": pytest.approx(1 / 3),
        "mcc": 0.0,
        "auroc": 0.0,
        "brier": pytest.approx((0.5 + 1.62) / 2),
        "ece_15_l1": pytest.approx((0.5 + 0.9) / 2),
    }


@pytest.mark.parametrize("num_labels", [2, 4])
def test_metrics_equal_scikit_learn(num_labels: int) -> None:
    draw = np.random.default_rng(num_labels)
    true_n, logits_nc = draw.integers(num_labels, size=200), draw.normal(size=(200, num_labels))
    logits_nc[np.arange(200), true_n] += 1.0
    probabilities_nc, predicted_n = softmax(logits_nc, axis=1), logits_nc.argmax(axis=1)
    measured = classification_metrics(
        [*zip(logits_nc.tolist(), true_n.tolist(), strict=True)], num_labels, CLASSIFICATION
    )
    scores = probabilities_nc[:, 1] if num_labels == 2 else probabilities_nc
    assert (
        measured.items()
        >= {
            "accuracy": pytest.approx(sklearn.metrics.accuracy_score(true_n, predicted_n)),
            "macro_f1": pytest.approx(sklearn.metrics.f1_score(true_n, predicted_n, average="macro")),
            "weighted_f1": pytest.approx(sklearn.metrics.f1_score(true_n, predicted_n, average="weighted")),
            "mcc": pytest.approx(sklearn.metrics.matthews_corrcoef(true_n, predicted_n)),
            "auroc": pytest.approx(sklearn.metrics.roc_auc_score(true_n, scores, multi_class="ovr")),
            "brier": pytest.approx(((probabilities_nc - np.eye(num_labels)[true_n]) ** 2).sum(axis=1).mean()),
        }.items()
    )


def test_vector_metrics_equal_scikit_learn_and_scipy() -> None:
    draw = np.random.default_rng(0)
    true_nc, logits_nc = draw.integers(2, size=(200, 3)), draw.normal(size=(200, 3))
    measured = multi_label_metrics([*zip(logits_nc.tolist(), true_nc.astype(float).tolist(), strict=True)])
    assert measured == {
        "micro_f1": pytest.approx(sklearn.metrics.f1_score(true_nc, logits_nc > 0, average="micro")),
        "macro_f1": pytest.approx(sklearn.metrics.f1_score(true_nc, logits_nc > 0, average="macro")),
        "exact_match": pytest.approx(sklearn.metrics.accuracy_score(true_nc, logits_nc > 0)),
        "auroc": pytest.approx(sklearn.metrics.roc_auc_score(true_nc, logits_nc)),
    }
    numbers_nt = draw.normal(size=(200, 2))
    predicted_nt = numbers_nt + draw.normal(size=(200, 2)).round(1)
    measured = regression_metrics([*zip(predicted_nt.tolist(), numbers_nt.tolist(), strict=True)])
    ranks = [scipy.stats.spearmanr(predicted_nt[:, at], numbers_nt[:, at]).statistic for at in (0, 1)]
    assert measured == {
        "mse": pytest.approx(sklearn.metrics.mean_squared_error(numbers_nt, predicted_nt)),
        "r2": pytest.approx(sklearn.metrics.r2_score(numbers_nt, predicted_nt)),
        "spearman": pytest.approx(np.mean(ranks)),
    }


def test_absent_classes_follow_stated_rules() -> None:
    pairs = [([2.0, 1.0, 0.0], 0), ([0.0, 1.0, -1.0], 1), ([1.0, 0.0, -1.0], 1)]  # nothing has class 2
    measured = classification_metrics(pairs, 3, CLASSIFICATION)
    assert measured["auroc"] == 0.75  # class 0: 0.5, as p is 0.665, 0.245 and 0.665; class 1: 1 hit and 1 tie
    assert measured["weighted_f1"] == pytest.approx(2 / 3)
    one = classification_metrics([([1.0, 0.0], 0)], 2, CLASSIFICATION)
    assert math.isnan(one["auroc"])
    assert (one["mcc"], one["weighted_f1"]) == (0.0, 1.0)


def rows(texts: list[str], labels: list[int]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"text": texts, "label": labels})


def test_baseline_learns_words_deterministically() -> None:
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


def test_unseen_class_has_finite_loss() -> None:
    train = rows([f"good {i}" for i in range(5)] + [f"bad {i}" for i in range(5)], [2] * 5 + [0] * 5)
    splits = Splits(train=train, validation=rows(["good", "odd"], [2, 1]), test=rows(["bad"], [0]), shift={})
    measured = tfidf_baseline(splits, 3)
    assert measured["val/accuracy"] == 0.5
    assert 10 < measured["val/loss"] < 20


SIGNS = {"ja": ("良い", "悪い"), "th": ("ดีมาก", "แย่มาก"), "zh": ("好", "坏")}


@pytest.mark.parametrize("language", SIGNS)
def test_baseline_reads_texts_without_spaces(language: str) -> None:
    good, bad = SIGNS[language]
    fillers = [chr(ord("一") + 7 * i) + chr(ord("丁") + 11 * i) for i in range(60)]
    texts = [f"{filler}{good if i % 2 else bad}{fillers[-i]}" for i, filler in enumerate(fillers)]
    labels = [i % 2 for i in range(60)]
    held = rows(texts[40:], labels[40:])
    measured = tfidf_baseline(Splits(train=rows(texts[:40], labels[:40]), validation=held, test=held, shift={}), 2)
    assert measured["val/accuracy"] == measured["test/accuracy"] == 1.0


@pytest.mark.parametrize("pair", [("a k", "a l"), (":)", ":("), ("C++", "C")])
def test_baseline_reads_texts_without_words(pair: tuple[str, str]) -> None:
    train = rows([*pair] * 10, [0, 1] * 10)
    held = rows([*pair], [0, 1])
    measured = tfidf_baseline(Splits(train=train, validation=held, test=held, shift={}), 2)
    assert measured["test/accuracy"] == 1.0


@pytest.mark.parametrize("baseline", [multi_label_baseline, regression_baseline])
def test_vector_baselines_read_texts_without_words(baseline: Callable[[Splits], dict[str, float]]) -> None:
    train = datasets.Dataset.from_dict({"text": [":)", ":("] * 10, "label": [[1.0, 0.0], [0.0, 1.0]] * 10})
    held = train.select([0, 1])
    measured = baseline(Splits(train=train, validation=held, test=held, shift={}))
    assert measured.get("test/exact_match", measured.get("test/spearman")) == pytest.approx(1.0)


def test_baseline_prefers_lower_loss_on_ties() -> None:
    train = rows(["とても良い映画です", "とても悪い映画です"] * 10, [0, 1] * 10)
    held, test = rows(["良い作品"], [0]), rows(["悪い作品"], [1])  # unknown words give class 0 for both
    measured = tfidf_baseline(Splits(train=train, validation=held, test=test, shift={}), 2)
    assert measured["test/accuracy"] == 1.0


def test_failed_baseline_gives_reason() -> None:
    held = rows(["good"], [1])
    with pytest.raises(DataError, match=r"words: .*; characters: "):
        tfidf_baseline(Splits(train=rows(["good", "bad"], [1, 1]), validation=held, test=held, shift={}), 2)


@pytest.mark.parametrize(
    ("text", "count", "analysers"),
    [
        ("a film with a plot ", 10, ["words", "characters"]),
        ("a film with a plot ", 300_000, ["words"]),
        ("とても良い映画でした", 500_000, ["words", "characters"]),
        ("करतो करदो करनो ", 300_000, ["words", "characters"]),
    ],
)
def test_character_ngrams_skipped_for_many_spaced_texts(text: str, count: int, analysers: list[str]) -> None:
    assert choose_analysers([text] * count) == analysers
