"""The overfit gap: how much better a model is on what it was trained on. Pure."""

from collections.abc import Mapping


def gaps(validation: Mapping[str, float], train: Mapping[str, float]) -> dict[str, float]:
    """Return ``gap/loss`` (validation minus train) and, if it is measured, ``gap/accuracy`` (train minus validation).

    Both are positive when the model does better on its training rows.
    """
    found = {}
    if "loss" in validation and "loss" in train:
        found["gap/loss"] = validation["loss"] - train["loss"]
    if "accuracy" in validation and "accuracy" in train:
        found["gap/accuracy"] = train["accuracy"] - validation["accuracy"]
    return found
