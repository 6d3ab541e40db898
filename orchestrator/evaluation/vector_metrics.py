"""Metrics of several labels per text, and of regression, from pairs of two lists of numbers. All are scikit-learn's
or SciPy's functions.
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
    without one), ``auroc`` over the classes with true rows and other rows (NaN without one).

    Args:
        pairs: logits, and 1.0 or 0.0, by class; at least one row.
    """
    import numpy as np
    from sklearn.metrics import accuracy_score, f1_score

    logits_nc, true_nc = (np.array(side) for side in zip(*pairs, strict=True))
    true_nc, predicted_nc = true_nc > 0.5, logits_nc > 0
    seen = np.flatnonzero((true_nc | predicted_nc).any(axis=0))
    macro = f1_score(true_nc[:, seen], predicted_nc[:, seen], average="macro", zero_division=0.0) if len(seen) else 0.0
    return {
        "micro_f1": float(f1_score(true_nc, predicted_nc, average="micro", zero_division=0.0)),
        "macro_f1": float(macro),
        "exact_match": float(accuracy_score(true_nc, predicted_nc)),
        "auroc": mean_auroc(true_nc.T.tolist(), logits_nc),
    }


def regression_metrics(pairs: Sequence[VectorPair]) -> dict[str, float]:
    """Return ``mse``, ``r2`` and ``spearman``, each the mean over the targets.

    ``r2`` is at most 1, and NaN if a target is constant. ``spearman`` is in [−1, 1], and NaN if a target or its
    predictions are constant. Both need two rows.

    Args:
        pairs: predicted and true numbers by target; at least one row.
    """
    import numpy as np
    from scipy.stats import spearmanr
    from sklearn.metrics import mean_squared_error, r2_score

    predicted_nt, true_nt = (np.array(side) for side in zip(*pairs, strict=True))
    constant = len(pairs) < 2 or bool((np.ptp(true_nt, axis=0) == 0).any())
    ranked = not constant and not (np.ptp(predicted_nt, axis=0) == 0).any()
    ranks = [spearmanr(predicted_nt[:, at], true_nt[:, at]).statistic for at in range(true_nt.shape[1]) if ranked]
    return {
        "mse": float(mean_squared_error(true_nt, predicted_nt)),
        "r2": float("nan") if constant else float(r2_score(true_nt, predicted_nt)),
        "spearman": float(np.mean(ranks)) if ranked else float("nan"),
    }
