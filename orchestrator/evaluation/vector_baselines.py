"""Classical baselines for several labels per text, and for regression: TF-IDF with linear models."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.evaluation.baseline import tfidf
from orchestrator.evaluation.vector_metrics import VectorPair, multi_label_metrics, regression_metrics
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.text_pairs import row_texts

if TYPE_CHECKING:
    import datasets
    import numpy as np
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline


def multi_label_baseline(splits: Splits) -> dict[str, float]:
    """Fit one logistic regression per class on train and return the metrics elsewhere: ``val/micro_f1`` ….

    Args:
        splits: rows with a ``text``, and a ``label`` of 1.0 or 0.0 by class.
    """
    import numpy as np
    from scipy.special import logit
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    def logits(model: "Pipeline", texts: Sequence[str]) -> "NDArray[np.float64]":
        scores: NDArray[np.float64] = logit(np.clip(model.predict_proba(texts), 1e-12, 1 - 1e-12))
        return scores

    return _measured(splits, OneVsRestClassifier(LogisticRegression(C=10.0, max_iter=1000)), logits, _multi_label)


def regression_baseline(splits: Splits) -> dict[str, float]:
    """Fit ridge regression on train and return the metrics elsewhere: ``val/mse``, ``test/spearman`` ….

    Args:
        splits: rows with a ``text``, and a ``label`` of numbers by target.
    """
    import numpy as np
    from sklearn.linear_model import Ridge

    def values(model: "Pipeline", texts: Sequence[str]) -> "NDArray[np.float64]":
        return np.asarray(model.predict(texts)).reshape(len(texts), -1)

    return _measured(splits, Ridge(), values, _regression)


def _measured(
    splits: Splits,
    estimator: "BaseEstimator",
    scores: "Callable[[Pipeline, Sequence[str]], NDArray[np.float64]]",
    metrics: Callable[[Sequence[VectorPair]], Mapping[str, float]],
) -> dict[str, float]:
    """Return the metrics of TF-IDF over words or characters, whichever has the lower validation loss.

    Raises:
        DataError: both fits failed.
    """

    def measure(model: "Pipeline", rows: "datasets.Dataset") -> Mapping[str, float]:
        predicted_nc = scores(model, row_texts(rows))
        return metrics([*zip(predicted_nc.tolist(), rows["label"][:], strict=True)])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns about classes without rows, which the plan names
        best = min(tfidf(splits, estimator).values(), key=lambda model: measure(model, splits.validation)["loss"])
        named = {"val": splits.validation, "test": splits.test}
        named |= {f"shift/{name}": rows for name, rows in splits.shift.items() if len(rows)}
        return {
            f"{split}/{name}": value for split, rows in named.items() for name, value in measure(best, rows).items()
        }


def _multi_label(pairs: Sequence[VectorPair]) -> Mapping[str, float]:
    import numpy as np

    logits_nc, true_nc = (np.array(side) for side in zip(*pairs, strict=True))
    loss = np.logaddexp(0, np.where(true_nc > 0.5, -logits_nc, logits_nc)).mean()
    return {"loss": float(loss), **multi_label_metrics(pairs)}


def _regression(pairs: Sequence[VectorPair]) -> Mapping[str, float]:
    measured = regression_metrics(pairs)
    return {"loss": measured["mse"], **measured}
