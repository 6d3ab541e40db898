"""Whether a value lies in a domain."""

import math

from orchestrator.core.space import ChoiceDomain, Domain, FixedDomain, ParamValue
from orchestrator.spec.problems import shown

_LISTED = 20


def on_grid(value: float, low: float, step: float) -> bool:
    """Return whether ``value`` is ``low`` plus a whole number of steps, up to rounding."""
    steps = (value - low) / step
    return math.isfinite(steps) and abs(steps - round(steps)) < 1e-6


def domain_problem(domain: Domain, value: ParamValue) -> str | None:
    """Return why ``value`` is not in ``domain``, or None if it is."""
    if isinstance(domain, ChoiceDomain):
        if value in domain.choices:
            return None
        listed = ", ".join(shown(choice) for choice in domain.choices[:_LISTED])
        more = f", ... ({len(domain.choices)} in all)" if len(domain.choices) > _LISTED else ""
        return f"one of the choices {listed}{more} is needed, got {shown(value)}"
    if isinstance(domain, FixedDomain):
        return None if value == domain.value else f"the fixed value {shown(domain.value)} is needed, got {shown(value)}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not domain.low <= value <= domain.high:
        return f"a value in [{domain.low}, {domain.high}] is needed, got {shown(value)}"
    if domain.step is not None and not on_grid(value, domain.low, domain.step):
        return f"low={domain.low} plus a multiple of step={domain.step} is needed, got {shown(value)}"
    return None
