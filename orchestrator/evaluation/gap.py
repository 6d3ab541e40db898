"""The overfit gap: the difference between validation and training metrics."""

from collections.abc import Mapping


def gaps(validation: Mapping[str, float], train: Mapping[str, float]) -> dict[str, float]:
    """Return ``gap/loss`` (validation minus train) and, if measured, ``gap/accuracy`` (train minus validation).

    Positive values mean better results on the training rows.
    """
    differences = {}
    if "loss" in validation and "loss" in train:
        differences["gap/loss"] = validation["loss"] - train["loss"]
    if "accuracy" in validation and "accuracy" in train:
        differences["gap/accuracy"] = train["accuracy"] - validation["accuracy"]
    return differences
