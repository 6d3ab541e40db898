"""The setting ``class_weights``: none, balanced, or a mapping of classes to weights, written as JSON."""

import json
from collections.abc import Mapping
from typing import Final

NONE: Final = "none"
BALANCED: Final = "balanced"
HIGHEST: Final = 1e6


def stated_weights(text: str) -> Mapping[str, float]:
    """Return the weights of a mapping by class name; raises ``ValueError`` with the broken rule as a phrase."""
    try:
        weights = json.loads(text)
    except ValueError:
        weights = None
    if not isinstance(weights, dict) or not weights:
        raise ValueError(f"{NONE}, {BALANCED} or a mapping of classes to weights is needed, got {text!r}")
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= HIGHEST:
            raise ValueError(f"a weight > 0 and <= {HIGHEST:g} is needed for class {name}, got {weight!r}")
    return {name: float(weight) for name, weight in weights.items()}


def weights_problem(text: str) -> str | None:
    """Return the broken rule as a phrase, or None."""
    if text in {NONE, BALANCED}:
        return None
    try:
        stated_weights(text)
    except ValueError as error:
        return str(error)
    return None
