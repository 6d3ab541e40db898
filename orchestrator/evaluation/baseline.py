"""The classical model that a fine-tuned one has to beat: TF-IDF of words and word pairs, logistic regression."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.objective.protocol import Splits

if TYPE_CHECKING:
    import datasets


def tfidf_baseline(splits: Splits, num_labels: int) -> dict[str, float]:
    """Fit on train and measure on the rest: ``val/accuracy``, ``test/macro_f1``, ``shift/<set>/loss`` ...

    Nothing is tuned, so the test split is read once. The same rows give the same values: there is no random draw.

    Args:
        splits: rows with a ``text`` and a ``label`` in ``range(num_labels)``.
        num_labels: number of classes.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # Untuned. Long articles have 250,000 different word pairs: the commoner 50,000 are as good and fit faster.
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=50_000)
    model = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000))
    model.fit(splits.train["text"][:], splits.train["label"][:])
    shift = {f"shift/{name}": rows for name, rows in splits.shift.items()}
    return {
        f"{split}/{metric}": value
        for split, rows in {"val": splits.validation, "test": splits.test, **shift}.items()
        if len(rows)
        for metric, value in _measure(model, rows, num_labels).items()
    }


def _measure(model: Any, rows: "datasets.Dataset", num_labels: int) -> Mapping[str, float]:  # noqa: ANN401
    import numpy as np

    labels = np.array(rows["label"][:])
    # A class that train lacks has no column: it keeps a probability just above zero, so that the loss stays finite.
    probability = np.full((len(labels), num_labels), 1e-12)
    probability[:, model.classes_] = model.predict_proba(rows["text"][:])
    loss = -np.log(np.maximum(probability[np.arange(len(labels)), labels], 1e-12)).mean()
    pairs = [*zip(probability.argmax(axis=1).tolist(), labels.tolist(), strict=True)]
    return {"loss": float(loss), **classification_metrics(pairs, num_labels)}
