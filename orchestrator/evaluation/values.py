"""Validation of the metrics returned by an objective's ``measure``."""

import numbers
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from orchestrator.core.errors import ObjectiveError
from orchestrator.core.names import check_metric_names


def metric_values(returned: object, objective: str, wanted: Collection[str] = ()) -> dict[str, float]:
    """Return the metrics as floats. NaN and infinities are kept; scalars of numpy and torch are converted.

    Args:
        returned: return value of ``measure``: real numbers by metric name.
        objective: name of the objective, for messages.
        wanted: names required in a non-empty result.

    Raises:
        ObjectiveError: the value is not a mapping, a name is not a string, a value is not a real number, or a required
            metric is missing.
    """
    place = f"objective {objective}: measure"
    if not hasattr(returned, "items"):
        raise ObjectiveError(f"{place} must return a dict of metrics by name, got {_shown(returned)}")
    metrics: dict[Any, Any] = dict(returned.items())
    try:
        check_metric_names(metrics)
    except ValueError as error:
        raise ObjectiveError(f"{place}: {error}") from error
    missing = [name for name in wanted if name not in metrics]
    if metrics and missing:
        raise ObjectiveError(
            f"{place} returned no {', '.join(missing)}, required by metrics; it returned {', '.join(metrics)}"
        )
    return {name: _number(value, f"{place}: {name}") for name, value in metrics.items()}


def _number(value: object, place: str) -> float:
    plain: object = value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value
    if not isinstance(plain, bool) and isinstance(plain, numbers.Real | Decimal):
        try:
            return float(plain)
        except OverflowError:
            pass
    raise ObjectiveError(f"{place} must be a real number (float('nan') where it is undefined), got {_shown(value)}")


def _shown(value: object) -> str:
    """Return the value and its type on one line."""
    written = " ".join(repr(value).split())
    return f"{written if len(written) <= 60 else written[:57] + '...'} ({type(value).__name__})"
