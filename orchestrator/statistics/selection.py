"""Corrections for the winner's curse: the best of several noisy values looks better than it is.

The score of a winner on new rows, such as the test rows read once, needs no correction as a score of its trained
adapter: the choice did not see these rows. As a score of its configuration it does: the choice saw the seed, and its
luck is in the score too. Then the covariance with the winner's own validation value is the variance between seeds, and
0 with all others. A score of fresh seeds on new rows is independent of the choice and needs no correction.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from orchestrator.core.metric import Direction
from orchestrator.statistics.intervals import Interval

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shrunk:
    """Noisy values moved towards their mean.

    Attributes:
        values: expected true values, in the given order.
        spread_values: true values with the estimated spread of the truth: less shrunk than ``values``.
        centre: mean of the values.
        factor: share in [0, 1] of the distance to the centre taken away from ``values``; 1: no difference is real.
    """

    values: tuple[float, ...]
    spread_values: tuple[float, ...]
    centre: float
    factor: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WinnerScore:
    """A score of the winner, corrected for the choice.

    Attributes:
        raw: the score as measured.
        corrected: the score with its interval, both valid after the choice; ``value`` is median-unbiased. The interval
            need not hold ``raw``: a winner nearly equal to the second was probably lucky.
        naive: the raw score with the interval that ignores the choice.
    """

    raw: float
    corrected: Interval
    naive: Interval


def shrink(values_k: Array, noise_variance: float) -> Shrunk:
    """Return the values of comparable trials, shrunk towards their mean.

    The factor is B = (k - 3) v / sum((x - mean)²), at most (k - 3) / (k - 1), with v the variance of the noise which
    the values do not share. Expected true values are mean + (1 - B) (x - mean): the positive-part estimate of James and
    Stein in the form of Efron and Morris 1975, Journal of the American Statistical Association 70, and Morris 1983,
    there 78. ``spread_values`` use sqrt(1 - B), so that they vary as the truth does (Louis 1984, there 79).

    Args:
        values_k: values of trials of equal length. Trials stopped early or collapsed are not comparable.
        noise_variance: variance of one value without the part common to all: that of the seeds, plus
            ``noise.interaction`` of the rows.
    """
    trials = len(values_k)
    centre = float(values_k.mean())
    if trials < 4:
        same = tuple(map(float, values_k))
        return Shrunk(values=same, spread_values=same, centre=centre, factor=0.0)
    spread, most = float(np.sum((values_k - centre) ** 2)), (trials - 3) / (trials - 1)
    factor = min(most, (trials - 3) * noise_variance / spread) if spread > 0 else most

    def moved(share: float) -> tuple[float, ...]:
        return tuple(float(each) for each in centre + share * (values_k - centre))

    return Shrunk(values=moved(1 - factor), spread_values=moved(math.sqrt(1 - factor)), centre=centre, factor=factor)


def expected_optimism(
    values_k: Array,
    noise_variance: float,
    generator: np.random.Generator,
    direction: Direction = Direction.MAXIMIZE,
    draws: int = 4000,
) -> float:
    """Return by how much the winner's value is expected to look better than it is, 0 or more.

    A parametric bootstrap: truths are the ``spread_values`` of ``shrink``, each draw adds normal noise and chooses the
    best, and the result is the mean noise of the chosen. Sources: Tibshirani and Tibshirani 2009, "A bias correction
    for the minimum error rate in cross-validation", Annals of Applied Statistics 3; Rosenkranz 2016, "Exploratory
    subgroup analysis", Biometrical Journal 58. For k equal trials it is about sqrt(2 ln k) standard deviations or less.

    Args:
        values_k: values of comparable trials.
        noise_variance: as for ``shrink``.
        generator: source of the draws.
        direction: direction in which the values improve.
        draws: number of simulated choices.
    """
    sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
    truths_k = sign * np.array(shrink(values_k, noise_variance).spread_values)
    noise_dk = math.sqrt(noise_variance) * generator.standard_normal((draws, len(values_k)))
    chosen = np.argmax(truths_k + noise_dk, axis=1)
    return max(0.0, float(np.take_along_axis(noise_dk, chosen[:, None], axis=1).mean()))


def covariance_with_winner(values_kn: Array, winner: int, seed_variance: float) -> Array:
    """Return the covariance of each trial's mean with the winner's, shape (k,).

    The rows are common to all trials, the seeds are not.

    Args:
        values_kn: value of each row, by trial: 1 for a right and 0 for a wrong class.
        winner: place of the winner.
        seed_variance: variance of the score between seeds.
    """
    rows = values_kn.shape[1]
    centred_kn = values_kn - values_kn.mean(axis=1, keepdims=True)
    covariance: Array = centred_kn @ centred_kn[winner] / ((rows - 1) * rows)
    covariance[winner] += seed_variance
    return covariance


def bootstrapped_covariance(values_dk: Array, winner: int, seed_variance: float) -> Array:
    """Return the covariance of each trial's score with the winner's over resamplings of the rows, shape (k,).

    For scores that are no means over rows, such as macro-F1. All trials are scored on the same resampled rows, so the
    covariance holds the rows which they share: sum((x_dk - mean_k) (x_dw - mean_w)) / (d - 1). Source: Efron and
    Tibshirani 1993, "An Introduction to the Bootstrap", chapter 6. ``winner_score`` takes it as the known covariance.

    Args:
        values_dk: score of each trial on each resampling; lines with a NaN are left out.
        winner: place of the winner.
        seed_variance: variance of the score between seeds.
    """
    known_dk = values_dk[np.isfinite(values_dk).all(axis=1)]
    centred_dk = known_dk - known_dk.mean(axis=0)
    covariance: Array = centred_dk.T @ centred_dk[:, winner] / (len(known_dk) - 1)
    covariance[winner] += seed_variance
    return covariance


def share_variance(rows: int, seed_variance: float) -> Callable[[float], float]:
    """Return the variance of a share of rows, such as an accuracy, as a function of its true value.

    Args:
        rows: number of rows.
        seed_variance: variance of the score between seeds.
    """
    smallest = 1 / rows

    def variance(share: float) -> float:
        inside = min(max(share, smallest), 1 - smallest)
        return seed_variance + inside * (1 - inside) / rows

    return variance


def scaled_variance(
    score: float, row_variance: float, rows: int, seed_variance: float = 0.0
) -> Callable[[float], float]:
    """Return the variance of a score in [0, 1], such as macro-F1, as a function of its true value.

    The rows' part is in proportion to value (1 - value), as that of a share: the winner's score is too high, and the
    variance estimated there too low. The seeds' part is constant, as in ``share_variance``.

    Args:
        score: the measured score.
        row_variance: its estimated variance due to the rows.
        rows: number of rows; true values nearer to 0 or 1 than 1 / rows count as 1 / rows away.
        seed_variance: variance of the score between seeds.
    """
    smallest = 1 / rows

    def spread(value: float) -> float:
        inside = min(max(value, smallest), 1 - smallest)
        return inside * (1 - inside)

    def scaled(value: float) -> float:
        return seed_variance + row_variance * spread(value) / spread(score)

    return scaled


def winner_score(
    choice_k: Array,
    covariance_k: Array,
    *,
    score: float | None = None,
    variance: float | Callable[[float], float] | None = None,
    step: float = 0.0,
    direction: Direction = Direction.MAXIMIZE,
    level: float = 0.95,
) -> WinnerScore:
    """Return the score of the winner with an interval that keeps its coverage after the choice.

    The hybrid interval. Given the part of the values independent of the score, the winner stays the winner while its
    score lies between two bounds. So the score is a normal variable cut off at these bounds, and all means are accepted
    at which it is not in either tail. Cut off, too, is any score further from the mean than the simultaneous interval
    of all k trials at level 1 - (1 - level) / 10; so the result is never wider than that interval. Coverage is between
    ``level`` and ``level`` / (1 - (1 - level) / 10), for normal noise of known covariance. Source: Andrews, Kitagawa
    and McCloskey 2024, "Inference on Winners", Quarterly Journal of Economics 139; the simultaneous interval is Šidák's
    (1967, Journal of the American Statistical Association 62).

    Args:
        choice_k: values by which the best trial was chosen.
        covariance_k: covariance of each of these values with the score. For the score by which the winner was chosen:
            ``covariance_with_winner``. Zero for trials independent of the score.
        score: score of the winner; None: its value in ``choice_k``.
        variance: variance of the score, or a function of its true value: ``share_variance``; None: its entry in
            ``covariance_k``.
        step: distance of neighbouring values in ``choice_k``: 1 / n for an accuracy on n rows, 0 for a loss. Equal
            values count as half a step apart, as in a mid-p value. Where even a tie is not in the lower tail, that
            tail is empty, and the upper one gets both shares.
        direction: direction in which values and scores improve.
        level: confidence level in (0, 1).

    Raises:
        ValueError: the variance is not positive.
    """
    sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
    gains_k = sign * choice_k
    winner = int(np.argmax(gains_k))
    raw = float(choice_k[winner] if score is None else score)
    known = float(covariance_k[winner]) if variance is None else variance
    spread = known(raw) if callable(known) else known
    if not spread > 0:
        raise ValueError(f"the variance of a score must be positive, got {spread}")
    sd = math.sqrt(spread)

    def scale(mean: float) -> float:
        return sd / math.sqrt(known(raw + sign * sd * mean)) if callable(known) else 1.0

    half = float(ndtri((1 + level) / 2)) * sd
    naive = Interval(value=raw, low=raw - half, high=raw + half, level=level)
    if not np.any(covariance_k):
        return WinnerScore(raw=raw, corrected=naive, naive=naive)
    error = _HybridError(_bounds(gains_k, covariance_k / spread, winner, step), sd, scale, len(choice_k), level)
    low, middle, high = sorted(raw + sign * sd * mean for mean in error.means())
    return WinnerScore(raw=raw, corrected=Interval(value=middle, low=low, high=high, level=level), naive=naive)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bounds:
    """The scores at which the winner stays the winner, relative to its score.

    Attributes:
        below: at most 0.
        above: at least 0.
        step: distance from ``below`` to the next possible score; 0: continuous.
    """

    below: float
    above: float
    step: float


def _bounds(gains_k: Array, slopes_k: Array, winner: int, step: float) -> _Bounds:
    """Return how far the score may fall and rise until another trial is chosen.

    A slope is the change of a trial's value by the change of the score. Half a step is added to each lead.
    """
    others = np.arange(len(gains_k)) != winner
    leads = gains_k[winner] - gains_k[others] + step / 2
    faster = slopes_k[winner] - slopes_k[others]
    falling, rising = faster > 0, faster < 0
    falls = leads[falling] / faster[falling]
    return _Bounds(
        below=-float(np.min(falls, initial=math.inf)),
        above=float(np.min(leads[rising] / -faster[rising], initial=math.inf)),
        step=step / float(faster[falling][np.argmin(falls)]) if len(falls) else 0.0,
    )


class _HybridError:
    """The distribution of the score less its mean, in standard deviations, cut off as ``winner_score`` describes."""

    def __init__(self, bounds: _Bounds, sd: float, scale: Callable[[float], float], trials: int, level: float) -> None:
        self._scale = scale
        self._below, self._above, self._step = bounds.below / sd, bounds.above / sd, bounds.step / sd
        beta = (1 - level) / 10
        self._widest = float(ndtri((1 + (1 - beta) ** (1 / trials)) / 2))
        self._tail = (1 - level - beta) / (1 - beta) / 2

    def means(self) -> tuple[float, float, float]:
        """Return the lowest accepted mean, the median-unbiased one and the highest, relative to the score."""
        low = self._mean_at(1 - 2 * self._tail)
        if self._tie(low) < 2 * self._tail:  # a tie would be in the lower tail, so this tail is in use
            low = self._mean_at(1 - self._tail)
        return low, self._mean_at(0.5), self._mean_at(self._tail)

    def _mean_at(self, share: float) -> float:
        """Return the mean at which a share of the distribution lies below the score; the share falls with the mean."""

        def excess(mean: float) -> float:
            return self._probability(mean, 0.0) - share

        low, high = -2.0 * self._widest, 2.0 * self._widest
        while excess(low) < 0:  # near 0 and 1 the variance of a share grows with the distance of the mean
            low *= 2
        while excess(high) > 0:
            high *= 2
        return float(brentq(excess, low, high, xtol=1e-6))

    def _tie(self, mean: float) -> float:
        """Return the probability of a score equal to the next trial's, 0 for a continuous score."""
        return self._probability(mean, self._below + self._step) if self._step else 0.0

    def _probability(self, mean: float, score: float) -> float:
        """Return the probability of a score below the given one, which is relative to the measured score."""
        scale = self._scale(mean)
        start = max(scale * (self._below - mean), -self._widest)
        end = min(scale * (self._above - mean), self._widest)
        here = scale * (score - mean)
        if here >= end:
            return 1.0
        if here <= start:
            return 0.0
        if start > 0:  # in the upper tail differences of ndtr lose their digits
            return 1 - _share(-end, -here, -start)
        return _share(start, here, end)


def _share(start: float, here: float, end: float) -> float:
    """Return the share of a standard normal distribution between two bounds that lies below a value."""
    whole = float(ndtr(end) - ndtr(start))
    return float(ndtr(here) - ndtr(start)) / whole if whole > 0 else 0.5
