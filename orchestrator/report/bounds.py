"""The bounds of the search space touched by the best trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core.space import (
    Choices,
    FloatRange,
    IntRange,
    Parameter,
    ParamValue,
    Space,
    is_number,
    place_in_range,
)
from orchestrator.core.trials.settings import RULES
from orchestrator.report import words
from orchestrator.report.findings import Finding, Rule, unknown

BEST = 3
"""Number of best trials compared with the bounds."""
NEAR = 0.05
"""Distance from a bound, as a fraction of the range on its own scale, within which a value touches the bound."""
FEWEST = 2 * BEST
"""Fewest scored trials: with fewer, the best ones are half of all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TouchedBound:
    """One bound of a parameter near which the best trials lie.

    Attributes:
        name: the parameter.
        side: ``lower`` or ``upper``.
        bound: value of the bound.
        touching: number of the best trials within ``NEAR`` of the bound.
        coarse: whether a value near the bound is the bound itself.
    """

    name: str
    side: str
    bound: float
    touching: int
    coarse: bool

    @property
    def finding(self) -> Finding:
        """The bound in words."""
        where = "at" if self.coarse else f"within {words.percent(NEAR)} of"
        sentence = (
            f"{self.name}: {self.touching} of the best {BEST} trials lie {where} the {self.side} bound "
            f"{words.param(self.bound)}."
        )
        numbers = {"touching": float(self.touching), "best": float(BEST), "bound": float(self.bound)}
        return Finding(rule=Rule.BOUNDS, sentence=sentence, numbers=numbers)


def touched_bounds(space: Space, best_first: Sequence[Mapping[str, ParamValue]]) -> tuple[TouchedBound, ...]:
    """Return the touched bounds in the order of the space; none with fewer than ``FEWEST`` trials.

    A bound is touched if two of the best three trials lie within 5 % of it. Coarse parameters (choices of numbers,
    ranges of few integers) need all three. Bounds beyond which the parameter has no valid value are skipped.

    Args:
        space: the search space.
        best_first: the configurations of the scored trials, the best first.
    """
    if len(best_first) < FEWEST:
        return ()
    return tuple(bound for parameter in space.parameters for bound in _touched(parameter, best_first[:BEST]))


def bound_findings(space: Space, scored: int, touched: Sequence[TouchedBound]) -> tuple[Finding, ...]:
    """Return one finding for each touched bound, or one finding in all.

    Args:
        space: the search space.
        scored: number of trials with a score.
        touched: the touched bounds.
    """
    if touched:
        return tuple(bound.finding for bound in touched)
    if scored < FEWEST:
        missing = f"whether ranges are too narrow needs {FEWEST} trials with a score, and {scored} have one."
        return (unknown(Rule.BOUNDS, missing, trials=scored),)
    if not any(_ends(parameter) is not None for parameter in space.parameters):
        return (unknown(Rule.BOUNDS, "no parameter of search.space has bounds.", trials=scored),)
    sentence = f"The best {BEST} trials touch no bound of search.space that could be widened."
    return (Finding(rule=Rule.BOUNDS, sentence=sentence, numbers={"trials": scored}),)


def _touched(parameter: Parameter, best: Sequence[Mapping[str, ParamValue]]) -> list[TouchedBound]:
    ends = _ends(parameter)
    values = [value for params in best if is_number(value := params.get(parameter.name))]
    if ends is None or len(values) < BEST:
        return []
    places = [place_in_range(ends, value) for value in values]
    coarse = _is_coarse(parameter)
    sides = (
        ("lower", ends.low, sum(place <= NEAR for place in places)),
        ("upper", ends.high, sum(place >= 1 - NEAR for place in places)),
    )
    return [
        TouchedBound(name=parameter.name, side=side, bound=bound, touching=touching, coarse=coarse)
        for side, bound, touching in sides
        if touching >= (BEST if coarse else BEST - 1) and not _is_limit(parameter.name, bound, upper=side == "upper")
    ]


def _ends(parameter: Parameter) -> FloatRange | IntRange | None:
    """Return the range of a parameter of numbers; at least three choices, all numbers, count as a range."""
    distribution = parameter.distribution
    if isinstance(distribution, FloatRange | IntRange):
        return distribution if distribution.high > distribution.low else None
    if not isinstance(distribution, Choices):
        return None
    numbers = [choice for choice in distribution.choices if is_number(choice)]
    if len(numbers) < max(3, len(distribution.choices)):
        return None
    return FloatRange(low=min(numbers), high=max(numbers), log=min(numbers) > 0)


def _is_coarse(parameter: Parameter) -> bool:
    """Return whether the values near a bound are the bound itself."""
    distribution = parameter.distribution
    if isinstance(distribution, FloatRange | IntRange):
        step = distribution.step or 0.0
        return step > NEAR * (distribution.high - distribution.low)
    return True


def _is_limit(name: str, bound: float, *, upper: bool) -> bool:
    """Return whether the parameter has no valid value beyond the bound."""
    rule = RULES.get(name)
    limit = None if rule is None else rule.high if upper else rule.low
    return limit is not None and bound == limit
