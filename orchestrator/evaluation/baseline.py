"""The classical baseline: TF-IDF and logistic regression, over words or characters."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import DataError, first_line
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.text_pairs import row_texts

if TYPE_CHECKING:
    import datasets
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

CHARACTERS_READ = 500
"""Maximum characters of a text for character n-grams. More cost time and hardly help."""
_MANY_CHARACTERS = 2_000_000
"""Total characters above which character n-grams take more than a few seconds."""
_SAMPLE = 200
"""Number of texts examined for spaces between words."""
_ANALYSERS: Mapping[str, Mapping[str, Any]] = {
    "words": {"ngram_range": (1, 2)},
    "characters": {"analyzer": "char_wb", "ngram_range": (1, 4)},
}
"""Arguments of scikit-learn's ``TfidfVectorizer``. It splits words at spaces: a Japanese or Thai sentence is one word,
and a single letter is not a word. Characters exist in every text."""


def tfidf_baseline(
    splits: Splits, num_labels: int, names: Collection[str] = ("accuracy", "macro_f1")
) -> dict[str, float]:
    """Fit on train and return the metrics elsewhere: ``val/accuracy``, ``test/macro_f1``, ``shift/<set>/loss``.

    Word and character n-grams are compared by validation accuracy, ties by validation loss. Only the better model is
    measured on the test split. Nothing else is tuned. The result is deterministic.

    Args:
        splits: rows with a ``text`` and a ``label`` in ``range(num_labels)``.
        num_labels: number of classes.
        names: names of the metrics beside the loss; see ``evaluation.metrics``.

    Raises:
        DataError: both fits failed.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = tfidf(splits, LogisticRegression(C=10.0, max_iter=1000))
    validation = {name: _measure(model, splits.validation, num_labels, names) for name, model in fitted.items()}
    best = max(validation, key=lambda name: (validation[name]["accuracy"], -validation[name]["loss"]))
    others = {"test": splits.test, **{f"shift/{name}": rows for name, rows in splits.shift.items()}}
    measured = {"val": validation[best]}
    measured |= {name: _measure(fitted[best], rows, num_labels, names) for name, rows in others.items() if len(rows)}
    return {f"{split}/{metric}": value for split, values in measured.items() for metric, value in values.items()}


def choose_analysers(texts: Sequence[str]) -> list[str]:
    """Return the analysers to try: only words if spaces separate words and characters would take long."""
    sample = "".join(texts[:_SAMPLE])
    spaces = sum(map(str.isspace, sample))
    marks = sum(unicodedata.category(one) in {"Mn", "Mc"} for one in sample)  # scikit-learn ends a word at a mark
    spaced = spaces > 0.05 * len(sample) and marks < 0.01 * len(sample)
    many = sum(min(len(text), CHARACTERS_READ) for text in texts) > _MANY_CHARACTERS
    return ["words"] if spaced and many else ["words", "characters"]


def tfidf(splits: Splits, estimator: "BaseEstimator") -> "dict[str, Pipeline]":
    """Return an estimator behind TF-IDF, fitted on train, by analyser. An analyser fails on texts without its n-grams.

    Raises:
        DataError: all fits failed.
    """
    import numpy as np
    from sklearn.base import clone

    fitted: dict[str, Pipeline] = {}
    reasons = {}
    texts, labels = row_texts(splits.train), np.array(splits.train["label"][:])
    wanted = choose_analysers(texts)
    for name in _ANALYSERS:
        if fitted and name not in wanted:
            continue
        try:
            fitted[name] = _pipeline(name, clone(estimator)).fit(texts, labels)
        except ValueError as error:  # from scikit-learn: no text contains a word, or train has one class
            reasons[name] = first_line(error)
    if not fitted:
        raise DataError("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
    return fitted


def _pipeline(analyser: str, estimator: "BaseEstimator") -> "Pipeline":
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    # Untuned. Long articles have 250,000 distinct word pairs; the most frequent 50,000 are as good and fit faster.
    start = _start if analyser == "characters" else None
    features = TfidfVectorizer(sublinear_tf=True, max_features=50_000, preprocessor=start, **_ANALYSERS[analyser])
    return make_pipeline(features, estimator)


def _start(text: str) -> str:
    return text[:CHARACTERS_READ].lower()


def _measure(
    model: "Pipeline", rows: "datasets.Dataset", num_labels: int, names: Collection[str]
) -> Mapping[str, float]:
    import numpy as np

    labels = np.array(rows["label"][:])
    # A class missing in train gets a tiny probability, so that the loss stays finite.
    probability = np.full((len(labels), num_labels), 1e-12)
    probability[:, model.classes_] = model.predict_proba(row_texts(rows))
    loss = -np.log(np.maximum(probability[np.arange(len(labels)), labels], 1e-12)).mean()
    pairs = [*zip(np.log(probability).tolist(), labels.tolist(), strict=True)]
    return {"loss": float(loss), **classification_metrics(pairs, num_labels, {"accuracy", *names})}
