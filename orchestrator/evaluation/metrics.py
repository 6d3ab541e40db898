"""Metrics of classification, computed from pairs of a prediction and a true class id. Absent classes have stated rules.

| metric | range | classes without a row |
|---|---|---|
| ``accuracy`` | 0 to 1 | no effect |
| ``macro_f1`` | 0 to 1 | a class counts if it is true or predicted in a row; its F1 is 0 if it has no hit |
| ``weighted_f1`` | 0 to 1 | a class counts with its number of true rows, so an absent one does not |
| ``mcc`` | −1 to 1 | 0 if all rows have one true class, or all one predicted class |
| ``auroc`` | 0 to 1 | mean over the classes with true rows and other rows, each against the rest; NaN without one |
| ``brier`` | 0 to 2 | sum over all classes of the squared error of the probability, mean over the rows |
| ``ece_15_l1`` | 0 to 1 | no effect; the expected calibration error of ``orchestrator.statistics.calibration`` |

All others are scikit-learn's functions. The last three are NaN if a logit is NaN or infinite.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.core.metric import Direction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLASSIFICATION: Mapping[str, Direction] = {
    "loss": Direction.MINIMIZE,
    "accuracy": Direction.MAXIMIZE,
    "macro_f1": Direction.MAXIMIZE,
    "weighted_f1": Direction.MAXIMIZE,
    "mcc": Direction.MAXIMIZE,
    "auroc": Direction.MAXIMIZE,
    "brier": Direction.MINIMIZE,
    "ece_15_l1": Direction.MINIMIZE,
}
"""The loss and all metrics of ``classification_metrics``, with their directions."""
BASIC: Mapping[str, Direction] = {name: CLASSIFICATION[name] for name in ("loss", "accuracy", "macro_f1")}
NEED_LOGITS = frozenset({"auroc", "brier", "ece_15_l1"})
"""Metrics of probabilities: their predictions are logits by class, not class ids."""

ClassLogits: TypeAlias = Sequence[float]
"""The logits of one row by class. The predicted class has the largest one, the first of several."""


def classification_metrics(
    pairs: Sequence[tuple[Any, int]], num_labels: int, names: Collection[str] = ("accuracy", "macro_f1")
) -> dict[str, float]:
    """Return metrics by name; the module states their ranges and the rules for absent classes.

    Args:
        pairs: ``(prediction, true id)`` per row; at least one. A prediction is a class id, or ``ClassLogits``.
        num_labels: number of classes.
        names: names of the metrics. Those in ``NEED_LOGITS`` need logits.
    """
    true = [reference for _, reference in pairs]
    predicted = [class_of_prediction(prediction) for prediction, _ in pairs]
    found = {name: measure(true, predicted, num_labels) for name, measure in _OF_IDS.items() if name in names}
    if NEED_LOGITS & {*names}:
        from scipy.special import softmax

        probabilities_nc = softmax([prediction for prediction, _ in pairs], axis=1)
        found |= {name: measure(true, probabilities_nc) for name, measure in _OF_LOGITS.items() if name in names}
    return found


def class_of_prediction(prediction: "int | ClassLogits") -> int:
    """Return the predicted class id."""
    if isinstance(prediction, int):
        return prediction
    return max(range(len(prediction)), key=prediction.__getitem__)


def _accuracy(true: list[int], predicted: list[int], _: int) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(true, predicted))


def _macro_f1(true: list[int], predicted: list[int], num_labels: int) -> float:
    from sklearn.metrics import f1_score

    seen = {*predicted, *true}
    labels = [label for label in range(num_labels) if label in seen]
    return float(f1_score(true, predicted, labels=labels, average="macro", zero_division=0.0))


def _weighted_f1(true: list[int], predicted: list[int], _: int) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="weighted", zero_division=0.0))


def _mcc(true: list[int], predicted: list[int], _: int) -> float:
    from sklearn.metrics import matthews_corrcoef

    if len({*true}) == 1 or len({*predicted}) == 1:
        return 0.0  # scikit-learn's value too, with a warning in some cases
    return float(matthews_corrcoef(true, predicted))


def _auroc(true: list[int], probabilities_nc: "NDArray[np.float64]") -> float:
    return mean_auroc([[label == one for label in true] for one in range(probabilities_nc.shape[1])], probabilities_nc)


def mean_auroc(is_true_cn: Sequence[Sequence[bool]], scores_nc: "NDArray[np.float64]") -> float:
    """Return the mean AUROC over the classes with rows of both kinds; NaN without such a class or with NaN scores."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    if not np.isfinite(scores_nc).all():
        return float("nan")
    scores = [
        roc_auc_score(is_true_n, scores_nc[:, one])
        for one, is_true_n in enumerate(is_true_cn)
        if len({*is_true_n}) == 2
    ]
    return float(sum(scores) / len(scores)) if scores else float("nan")


def _brier(true: list[int], probabilities_nc: "NDArray[np.float64]") -> float:
    import numpy as np
    from sklearn.metrics import brier_score_loss

    if not np.isfinite(probabilities_nc).all():
        return float("nan")
    labels = [*range(probabilities_nc.shape[1])]
    return float(brier_score_loss(true, probabilities_nc, labels=labels, scale_by_half=False))


def _calibration(true: list[int], probabilities_nc: "NDArray[np.float64]") -> float:
    import numpy as np

    from orchestrator.statistics.calibration import expected_calibration_error, top_label

    if not np.isfinite(probabilities_nc).all():
        return float("nan")
    return expected_calibration_error(*top_label(probabilities_nc, np.array(true))).value


_OF_IDS: Mapping[str, Callable[[list[int], list[int], int], float]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "weighted_f1": _weighted_f1,
    "mcc": _mcc,
}
_OF_LOGITS: "Mapping[str, Callable[[list[int], NDArray[np.float64]], float]]" = {
    "auroc": _auroc,
    "brier": _brier,
    "ece_15_l1": _calibration,
}
