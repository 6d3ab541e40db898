"""The Gaussian process, and the expected improvement of untried points."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, qmc

from orchestrator.core.space import ParamValue
from orchestrator.ledger.codec import canonical
from orchestrator.search.surrogate.encoding import Encoding, Point

Array = NDArray[np.float64]

MOST_OBSERVATIONS = 100
"""Trials of one fit: half of them the best, half the newest. The time of a fit grows with their cube."""
DRAWN = 512
"""Quasi-random points among which a proposal is chosen, a power of two."""
NEAR = 32
"""Further points near each of the ``LEADERS`` best trials."""
LEADERS = 5
JITTER = 1e-6
"""Least variance of a target, for a stable matrix."""
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
    """

    point: Point
    cost: float
    variance: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether the cost is a finite number."""
        return bool(np.isfinite(self.cost))


@dataclass(frozen=True, kw_only=True, slots=True)
class BestPoint:
    """The untried point with the largest expected improvement.

    Attributes:
        point: values of the active parameters.
        gain: its expected improvement over the lowest expected cost of a tried point, in units of cost.
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

    Args:
        encoding: of the space.
        observations: the trials so far, at least two with a finite cost.
        seed: of the drawn points.
        fixed: values that the point must have.
    """
    known = _fewer([one for one in observations if not np.isnan(one.cost)])
    costs, differ = _capped(np.array([one.cost for one in known]))
    mean, scale = float(costs.mean()), max(float(costs.std()), LEAST_SCALE)
    features = encoding.features([one.point for one in known])
    variances = np.array([one.variance for one in known]) / scale**2
    process = GaussianProcess(features, (costs - mean) / scale, variances)
    best = float(process.predict(features)[0].min())
    pending = [one.point for one in observations if np.isnan(one.cost)]
    if pending:
        process = process.believing(encoding.features(pending))
    keys = {canonical(one.point) for one in observations}
    pool = _pool(encoding, known, seed, fixed)
    means, deviations = process.predict(encoding.features(pool))
    gains = expected_improvement(best - means, deviations)
    order = np.argsort(-gains, kind="stable")
    chosen = next((place for place in order if canonical(pool[place]) not in keys), order[0])
    scale = scale if differ else 0.0
    return BestPoint(point=pool[chosen], gain=float(gains[chosen]) * scale, noise=process.noise * scale)


class GaussianProcess:
    """A Gaussian process with a Matérn kernel (ν = 5/2), a length scale for each feature, and white noise.

    scikit-learn fits them by marginal likelihood (Rasmussen & Williams 2006, chapter 5).

    Attributes:
        noise: standard deviation of the white noise.
    """

    def __init__(self, features: Array, targets: Array, variances: Array, kernel: object = None) -> None:
        """Fit the process.

        Args:
            features: shape (n, number of features).
            targets: standardised costs, shape (n,).
            variances: variance of each target beyond the white noise, shape (n,).
            kernel: a fitted kernel; None: it is fitted.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        self._features, self._targets, self._variances = features, targets, variances
        scales = Matern(np.full(features.shape[1], 0.7), (0.15, 5.0), nu=2.5)
        self._process = GaussianProcessRegressor(
            kernel or ConstantKernel(1.0, (0.05, 20.0)) * scales + WhiteKernel(0.05, (1e-4, 1.0)),
            alpha=variances + JITTER,
            optimizer=None if kernel else "fmin_l_bfgs_b",
        )
        with warnings.catch_warnings():
            # A length scale at its bound means that the feature has no effect.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(features, targets)
        self.noise = math.exp(self._process.kernel_.theta[-1] / 2)

    def believing(self, features: Array) -> "GaussianProcess":
        """Return the process with further points that had their expected targets."""
        added = np.concatenate([self._targets, self.predict(features)[0]])
        variances = np.concatenate([self._variances, np.zeros(len(features))])
        return GaussianProcess(np.vstack([self._features, features]), added, variances, self._process.kernel_)

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the expected targets, without white noise; each of shape (n,)."""
        means, deviations = self._process.predict(features, return_std=True)
        return means, np.sqrt(np.maximum(deviations**2 - self.noise**2, JITTER))


def _fewer(known: Sequence[Observation]) -> list[Observation]:
    if len(known) <= MOST_OBSERVATIONS:
        return list(known)
    newest = range(len(known) - MOST_OBSERVATIONS // 2, len(known))
    older = sorted(range(newest.start), key=lambda place: known[place].cost)[: MOST_OBSERVATIONS // 2]
    return [known[place] for place in sorted([*older, *newest])]


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
    leaders = sorted(known, key=lambda one: one.cost)[:LEADERS]
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
