"""Metrics of classification, computed from pairs of predicted and true class ids."""

from collections.abc import Sequence


def classification_metrics(pairs: Sequence[tuple[int, int]], num_labels: int) -> dict[str, float]:
    """Return ``accuracy`` and ``macro_f1``, both in [0, 1].

    Args:
        pairs: ``(predicted id, true id)`` per row; at least one.
        num_labels: number of classes. ``macro_f1`` is the mean over the classes which are true or predicted in at
            least one row, as in scikit-learn.
    """
    from sklearn.metrics import accuracy_score, f1_score

    predicted, true = zip(*pairs, strict=True)
    seen = {*predicted, *true}
    f1 = f1_score(
        true,
        predicted,
        labels=[label for label in range(num_labels) if label in seen],
        average="macro",
        zero_division=0.0,
    )
    return {"accuracy": float(accuracy_score(true, predicted)), "macro_f1": float(f1)}
