"""The expected improvement of untried points."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, qmc

from orchestrator.core.space import ParamValue
from orchestrator.ledger.codec import canonical
from orchestrator.search.surrogate.encoding import Encoding, Point
from orchestrator.search.surrogate.feasibility import Excess, probability_within
from orchestrator.search.surrogate.gaussian_process import GaussianProcess

Array = NDArray[np.float64]

MOST_OBSERVATIONS = 100
"""Trials of one fit: half of them the best, half the newest. The time of a fit grows with their cube."""
DRAWN = 512
"""Quasi-random points among which a proposal is chosen, a power of two."""
NEAR = 32
"""Further points near each of the ``LEADERS`` best trials."""
LEADERS = 5
LIKELY = 0.8
"""Least probability of keeping the constraints, as a share of the largest one among the untried points."""
LEAST_SCALE = 1e-12
"""Least standard deviation of costs; smaller ones are rounding errors."""
_DIGITS = 12
"""Decimals in which different costs differ."""
DISTANCE = 0.1
"""Standard deviation of the distance of near points, in coordinates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """A tried point with its cost.

    Attributes:
        point: values of the active parameters.
        cost: lower is better; NaN: nothing is known yet, as of a running trial without a report; inf: it failed.
        variance: variance of the cost, beyond the noise between seeds.
        excesses: the expected excess of each constraint; empty without constraints.
    """

    point: Point
    cost: float
    variance: float = 0.0
    excesses: tuple[Excess, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the cost is a finite number."""
        return bool(np.isfinite(self.cost))

    @property
    def violation(self) -> float:
        """The sum of the positive expected excesses: 0 within the constraints, infinite if one is unknown."""
        if any(np.isnan(each.value) for each in self.excesses):
            return float("inf")
        return sum(each.value for each in self.excesses if each.value > 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class BestPoint:
    """The untried point with the largest expected improvement.

    Attributes:
        point: values of the active parameters.
        gain: its expected improvement over the lowest expected cost of a tried point, in units of cost; with
            constraints weighted by their probability.
        noise: standard deviation of a trial's cost at one point, in units of cost, as fitted.
    """

    point: dict[str, ParamValue]
    gain: float
    noise: float


def drawn_point(encoding: Encoding, number: int, seed: int, fixed: Point) -> dict[str, ParamValue]:
    """Return point ``number`` of a scrambled Sobol' sequence over the space, with some values fixed."""
    sequence = qmc.Sobol(max(1, encoding.size), seed=seed)
    if number:
        sequence.fast_forward(number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about single points of a sequence
        coordinates = sequence.random(1)
    return encoding.points(coordinates[:, : encoding.size], fixed)[0]


def best_point(encoding: Encoding, observations: Sequence[Observation], seed: int, fixed: Point) -> BestPoint:
    """Return the untried point with the largest expected improvement.

    Costs above the median plus twice the median's distance from the best cost are reduced to this limit, because
    diverged trials would dominate the scale. A running trial without a report counts with its expected cost (the
    kriging believer, Ginsbourger et al. 2010). If all finite costs are equal, there is no scale: gain and noise are 0.

    With constraints, the improvement is over the tried points expected within them, and it is multiplied by the
    probability of keeping them (Gardner et al. 2014). Only points with at least ``LIKELY`` of the largest probability
    are proposed: the optimum is often at a bound, where half of the trials would break it (decision 62). If no tried
    point is within the constraints, the probability alone is maximised (Gelbart et al. 2014, arXiv 1403.5607).

    Args:
        encoding: encoding of the space.
        observations: the trials so far, at least two with a finite cost.
        seed: seed of the drawn points.
        fixed: values that the point must have.
    """
    known = _fewer([one for one in observations if not np.isnan(one.cost)])
    costs, differ = _capped(np.array([one.cost for one in known]))
    mean, scale = float(costs.mean()), max(float(costs.std()), LEAST_SCALE)
    features = encoding.features([one.point for one in known])
    variances = np.array([one.variance for one in known]) / scale**2
    process = GaussianProcess(features, (costs - mean) / scale, variances)
    expected = process.predict(features)[0]
    within = np.array([one.violation == 0 for one in known])
    pending = [one.point for one in observations if np.isnan(one.cost)]
    if pending:
        process = process.fantasize(encoding.features(pending))
    keys = {canonical(one.point) for one in observations}
    pool = _pool(encoding, known, seed, fixed)
    untried = encoding.features(pool)
    gains = probability_within(features, [one.excesses for one in known], untried)
    if within.any():
        means, deviations = process.predict(untried)
        gains = np.where(gains >= LIKELY * gains.max(), gains, 0.0)
        gains = gains * expected_improvement(float(expected[within].min()) - means, deviations)
    order = np.argsort(-gains, kind="stable")
    chosen = next((place for place in order if canonical(pool[place]) not in keys), order[0])
    scale = scale if differ else 0.0
    return BestPoint(point=pool[chosen], gain=float(gains[chosen]) * scale, noise=process.noise * scale)


def _fewer(known: Sequence[Observation]) -> list[Observation]:
    if len(known) <= MOST_OBSERVATIONS:
        return list(known)
    newest = range(len(known) - MOST_OBSERVATIONS // 2, len(known))
    older = sorted(range(newest.start), key=lambda place: _order(known[place]))[: MOST_OBSERVATIONS // 2]
    return [known[place] for place in sorted([*older, *newest])]


def _order(observation: Observation) -> tuple[float, float]:
    """Return a sort key: points within the constraints first, then the lower cost."""
    return observation.violation, observation.cost


def _capped(costs: Array) -> tuple[Array, bool]:
    """Return the costs without extreme ones, and whether the finite ones differ.

    The median is over distinct costs: where half of the trials reach the same best accuracy, the worse ones still
    count as worse.
    """
    distinct = np.unique(costs[np.isfinite(costs)].round(_DIGITS))
    best, middle = float(distinct[0]), float(np.median(distinct))
    margin = 2 * (middle - best) or abs(best) or 1.0
    return np.minimum(costs, middle + margin), len(distinct) > 1


def _pool(encoding: Encoding, known: Sequence[Observation], seed: int, fixed: Point) -> list[dict[str, ParamValue]]:
    """Return points of the whole space, and points near the best trials."""
    draw = np.random.default_rng(seed)
    everywhere = qmc.Sobol(encoding.size, seed=draw).random(DRAWN)
    leaders = sorted(known, key=_order)[:LEADERS]
    near = [
        encoding.coordinates(one.point)
        + draw.normal(0.0, DISTANCE, (NEAR, encoding.size)) * (draw.random((NEAR, encoding.size)) < 0.5)
        for one in leaders
    ]
    return encoding.points(np.clip(np.vstack([everywhere, *near]), 0.0, 1.0), fixed)


def expected_improvement(improvements: Array, deviations: Array) -> Array:
    """Return E[max(0, N(improvement, deviation²))] (Jones et al. 1998), for each element."""
    ratios = improvements / deviations
    gains: Array = improvements * norm.cdf(ratios) + deviations * norm.pdf(ratios)
    return gains
