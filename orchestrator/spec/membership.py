"""Whether a value lies in a distribution."""

import math

from orchestrator.core.space import Choices, Constant, Distribution, ParamValue
from orchestrator.spec.problems import shown

_LISTED = 20


def on_grid(value: float, low: float, step: float) -> bool:
    """Return whether ``value`` is ``low`` plus a whole number of steps, up to rounding."""
    steps = (value - low) / step
    return math.isfinite(steps) and abs(steps - round(steps)) < 1e-6


def distribution_problem(distribution: Distribution, value: ParamValue) -> str | None:
    """Return why ``value`` is not in ``distribution``, or None if it is."""
    if isinstance(distribution, Choices):
        if value in distribution.choices:
            return None
        listed = ", ".join(shown(choice) for choice in distribution.choices[:_LISTED])
        more = f", ... ({len(distribution.choices)} in all)" if len(distribution.choices) > _LISTED else ""
        return f"one of the choices {listed}{more} is needed, got {shown(value)}"
    if isinstance(distribution, Constant):
        return (
            None
            if value == distribution.value
            else f"the fixed value {shown(distribution.value)} is needed, got {shown(value)}"
        )
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not distribution.low <= value <= distribution.high
    ):
        return f"a value in [{distribution.low}, {distribution.high}] is needed, got {shown(value)}"
    if distribution.step is not None and not on_grid(value, distribution.low, distribution.step):
        return f"low={distribution.low} plus a multiple of step={distribution.step} is needed, got {shown(value)}"
    return None
