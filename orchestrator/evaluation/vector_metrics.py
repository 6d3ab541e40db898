"""Metrics of several labels per text, and of regression, from pairs of two lists of numbers.

Rank and regression metrics are scikit-learn's and SciPy's. F1 is not: scikit-learn takes one column for a binary task.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from orchestrator.core.metric import Direction
from orchestrator.evaluation.metrics import mean_auroc

VectorPair: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""The model's numbers (logits, or values) and the true ones of one row, in the order of the classes or targets."""

MULTI_LABEL: Mapping[str, Direction] = {
    "loss": Direction.MINIMIZE,
    "micro_f1": Direction.MAXIMIZE,
    "macro_f1": Direction.MAXIMIZE,
    "exact_match": Direction.MAXIMIZE,
    "auroc": Direction.MAXIMIZE,
}
REGRESSION: Mapping[str, Direction] = {
    "loss": Direction.MINIMIZE,
    "mse": Direction.MINIMIZE,
    "r2": Direction.MAXIMIZE,
    "spearman": Direction.MAXIMIZE,
}


def multi_label_metrics(pairs: Sequence[VectorPair]) -> dict[str, float]:
    """Return ``micro_f1``, ``macro_f1``, ``exact_match`` and ``auroc``, each in [0, 1].

    A class is predicted if its logit is above 0: its probability is above one half. ``exact_match`` is the share of
    rows with all classes right. ``macro_f1`` is the mean over the classes true or predicted in at least one row (0
    without one), ``auroc`` over the classes with true rows and other rows (NaN without one, or with a logit of NaN).

    Args:
        pairs: logits, and 1.0 or 0.0, by class; at least one row.
    """
    import numpy as np

    logits_nc, true_nc = (np.array(side) for side in zip(*pairs, strict=True))
    true_nc, predicted_nc = true_nc > 0.5, logits_nc > 0
    hits_c = (true_nc & predicted_nc).sum(axis=0)
    marks_c = true_nc.sum(axis=0) + predicted_nc.sum(axis=0)
    seen_c = marks_c > 0
    return {
        "micro_f1": float(2 * hits_c.sum() / max(marks_c.sum(), 1)),
        "macro_f1": float((2 * hits_c[seen_c] / marks_c[seen_c]).mean()) if seen_c.any() else 0.0,
        "exact_match": float((true_nc == predicted_nc).all(axis=1).mean()),
        "auroc": mean_auroc(true_nc.T.tolist(), logits_nc),
    }


def regression_metrics(pairs: Sequence[VectorPair]) -> dict[str, float]:
    """Return ``mse``, ``r2`` and ``spearman``, each the mean over the targets.

    ``r2`` is at most 1, and NaN if a target is constant. ``spearman`` is in [−1, 1], and NaN if a target or its
    predictions are constant. Both need two rows. All are NaN if a prediction is NaN or infinite.

    Args:
        pairs: predicted and true numbers by target; at least one row.
    """
    import numpy as np
    from scipy.stats import spearmanr
    from sklearn.metrics import mean_squared_error, r2_score

    predicted_nt, true_nt = (np.array(side) for side in zip(*pairs, strict=True))
    if not np.isfinite(predicted_nt).all():
        return dict.fromkeys(("mse", "r2", "spearman"), float("nan"))
    constant = len(pairs) < 2 or bool((np.ptp(true_nt, axis=0) == 0).any())
    ranked = not constant and not (np.ptp(predicted_nt, axis=0) == 0).any()
    ranks = [spearmanr(predicted_nt[:, at], true_nt[:, at]).statistic for at in range(true_nt.shape[1]) if ranked]
    return {
        "mse": float(mean_squared_error(true_nt, predicted_nt)),
        "r2": float("nan") if constant else float(r2_score(true_nt, predicted_nt)),
        "spearman": float(np.mean(ranks)) if ranked else float("nan"),
    }
