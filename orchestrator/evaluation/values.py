"""What an objective's ``measure`` or ``baseline`` returns, as plain floats, or refused by name."""

import numbers
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from orchestrator.core.errors import ObjectiveError
from orchestrator.core.names import check_metric_names


def metric_values(
    found: object, objective: str, hook: str = "measure", wanted: Collection[str] = ()
) -> dict[str, float]:
    """Return the metrics as floats; NaN and infinities stay, numpy's and torch's single numbers are converted.

    Args:
        found: what the hook returned: real numbers by metric name.
        objective: the objective's name, for messages.
        hook: the objective's method that returned it, for messages.
        wanted: names that must be there, unless there is none at all.

    Raises:
        ObjectiveError: it is no mapping, a name is no text, a value is no real number, or a wanted one is missing.
    """
    place = f"objective {objective}: {hook}"
    if not hasattr(found, "items"):
        raise ObjectiveError(f"{place} must return a dict of metrics by name, got {_told(found)}")
    metrics: dict[Any, Any] = dict(found.items())
    try:
        check_metric_names(metrics)
    except ValueError as error:
        raise ObjectiveError(f"{place}: {error}") from error
    missing = [name for name in wanted if name not in metrics]
    if metrics and missing:
        raise ObjectiveError(
            f"{place} returned no {', '.join(missing)}, which metrics lists; it returned {', '.join(metrics)}"
        )
    return {name: _number(value, f"{place}: {name}") for name, value in metrics.items()}


def _number(value: Any, place: str) -> float:  # noqa: ANN401  (whatever a user's code returned)
    plain: Any = value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value
    if not isinstance(plain, bool) and isinstance(plain, numbers.Real | Decimal):
        try:
            return float(plain)
        except OverflowError:
            pass
    raise ObjectiveError(f"{place} must be a real number (float('nan') where it is undefined), got {_told(value)}")


def _told(value: object) -> str:
    """Return the value and its type, shortened to one line."""
    written = " ".join(repr(value).split())
    return f"{written if len(written) <= 60 else written[:57] + '...'} ({type(value).__name__})"
