"""Calibration of class probabilities: expected calibration error, reliability, and temperature scaling."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from orchestrator.statistics.intervals import Interval, wilson_interval
from orchestrator.statistics.resampling import row_draws

Array: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]

BINS = 15
"""Bins of equal width, as in Guo et al. 2017."""

_COLDEST, _HOTTEST = 0.02, 50.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """The rows with a confidence in [low, high); the last bin holds 1 as well.

    Attributes:
        low, high: bounds of the confidence.
        rows: number of rows, at least 1.
        confidence: mean confidence.
        accuracy: share of rightly classified rows, with Wilson's interval.
    """

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationError:
    """An expected calibration error with its definition.

    Attributes:
        value: in [0, 1]; 0: confidence equals accuracy in each bin.
        bins: number of bins of equal width.
        norm: 1: mean absolute difference; 2: root of the mean squared difference.
    """

    value: float
    bins: int
    norm: int

    @property
    def name(self) -> str:
        """The metric's name, for example ``ece_15_l1``."""
        return f"ece_{self.bins}_l{self.norm}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Temperature:
    """A temperature fitted on rows which the model was not trained on.

    Attributes:
        value: divisor of the logits, from 0.02 to 50; above 1: the model was too sure.
        loss_before, loss_after: mean negative log likelihood in nats, on the rows of the fit.
    """

    value: float
    loss_before: float
    loss_after: float


def top_label(probabilities_nc: Array, references_n: IntArray) -> tuple[Array, BoolArray]:
    """Return the probability of the predicted class of each row, and whether this class is right."""
    confidences: Array = probabilities_nc.max(axis=1)
    correct: BoolArray = probabilities_nc.argmax(axis=1) == references_n
    return confidences, correct


def reliability_bins(confidences_n: Array, correct_n: BoolArray, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return the bins of equal width over [0, 1] that hold at least one row.

    Source: DeGroot and Fienberg 1983, "The comparison and evaluation of forecasters", The Statistician 32.

    Args:
        confidences_n: probability of the predicted class, in [0, 1].
        correct_n: whether the predicted class is right.
        bins: number of bins, at least 1.
    """
    places_n = np.minimum((confidences_n * bins).astype(np.int64), bins - 1)
    rows_b = np.bincount(places_n, minlength=bins)
    confidence_b = np.bincount(places_n, weights=confidences_n, minlength=bins)
    hits_b = np.bincount(places_n[correct_n], minlength=bins)
    return tuple(
        ReliabilityBin(
            low=place / bins,
            high=(place + 1) / bins,
            rows=int(rows_b[place]),
            confidence=float(confidence_b[place]) / int(rows_b[place]),
            accuracy=wilson_interval(int(hits_b[place]), int(rows_b[place])),
        )
        for place in np.flatnonzero(rows_b)
    )


def expected_calibration_error(
    confidences_n: Array, correct_n: BoolArray, *, bins: int = BINS, norm: int = 1
) -> CalibrationError:
    """Return the expected calibration error of the predicted class (top label), with bins of equal width.

    (sum over bins of (rows in the bin / n) |accuracy - confidence|^norm)^(1 / norm). The estimate is biased upwards:
    with few rows in a bin a calibrated model has an error, too. Sources: norm 1, Naeini, Cooper and Hauskrecht 2015,
    AAAI, and Guo et al. 2017, "On Calibration of Modern Neural Networks", ICML; norm 2 and the bias, Kumar, Liang and
    Ma 2019, "Verified Uncertainty Calibration", NeurIPS.

    Args:
        confidences_n: probability of the predicted class, in [0, 1].
        correct_n: whether the predicted class is right.
        bins: number of bins of equal width, at least 1.
        norm: 1 or 2.

    Raises:
        ValueError: the norm is neither 1 nor 2, or there are no rows.
    """
    if norm not in {1, 2} or not len(confidences_n):
        raise ValueError(f"a calibration error needs norm 1 or 2 and rows, got norm {norm}, {len(confidences_n)} rows")
    total = sum(
        each.rows * abs(each.accuracy.value - each.confidence) ** norm
        for each in reliability_bins(confidences_n, correct_n, bins)
    )
    return CalibrationError(value=(total / len(confidences_n)) ** (1 / norm), bins=bins, norm=norm)


def calibration_interval(
    confidences_n: Array,
    correct_n: BoolArray,
    generator: np.random.Generator,
    *,
    bins: int = BINS,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the bootstrap interval over rows of the expected calibration error with norm 1.

    With the value v and the upper quantile q of resampled values the limits are 2 v - q, at least 0, and q. The lower
    one is that of the basic bootstrap: v and the resampled values are too high, and mirroring corrects this to the
    first order. The upper one is that of the percentile bootstrap, so it is too high rather than too low: mirroring
    fails where v is near 0 by luck. Source: Davison and Hinkley 1997, "Bootstrap Methods and their Application",
    chapter 5.

    The error has a kink at 0 in each bin, so the correction is not exact. ``benchmarks.bounds`` simulates classifiers:
    with true errors of 0.04 and 0.09 the interval is too high in 1 to 8 % and hardly ever too low. For a perfectly
    calibrated one the lower limit is above 0 in over a third of the cases, by at most 0.04 on 200 rows: it does not
    prove an error.

    Args:
        confidences_n: probability of the predicted class, in [0, 1].
        correct_n: whether the predicted class is right.
        generator: source of the draws.
        bins: number of bins of equal width, at least 1.
        draws: number of resamplings.
        level: confidence level in (0, 1).

    Raises:
        ValueError: there are no rows.
    """
    rows = len(confidences_n)
    if not rows:
        raise ValueError("the interval of a calibration error needs rows, got none")
    places_n = np.minimum((confidences_n * bins).astype(np.int64), bins - 1)
    apart_nb = np.zeros((rows, bins))
    apart_nb[np.arange(rows), places_n] = correct_n - confidences_n

    def error(counts_dn: IntArray) -> Array:
        total_d: Array = np.abs(counts_dn @ apart_nb).sum(axis=1) / rows
        return total_d

    ones_n = np.ones(rows, dtype=np.int64)
    value = float(error(ones_n[None, :])[0])
    high = max(value, float(np.quantile(row_draws(error, ones_n, generator, draws), (1 + level) / 2)))
    return Interval(value=value, low=max(0.0, 2 * value - high), high=high, level=level)


def fit_temperature(logits_nc: Array, references_n: IntArray) -> Temperature:
    """Return the temperature T that minimises the mean negative log likelihood of softmax(logits / T).

    The loss is convex in 1 / T, so it has one minimum over log T. If every row is classified rightly, the loss falls
    towards 0 with T, and the result is near the lower bound, 0.02. Source: Guo et al. 2017, ICML.

    Args:
        logits_nc: logits on rows which the model was not trained on, for example the validation split.
        references_n: true class ids in [0, c).
    """

    def loss(log_temperature: float) -> float:
        return _loss(logits_nc, references_n, math.exp(log_temperature))

    bounds = (math.log(_COLDEST), math.log(_HOTTEST))
    fitted = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return Temperature(
        value=math.exp(float(fitted.x)),
        loss_before=_loss(logits_nc, references_n, 1.0),
        loss_after=float(fitted.fun),
    )


def scaled_probabilities(logits_nc: Array, temperature: float) -> Array:
    """Return softmax(logits / temperature), shape (n, c). The predicted classes stay the same."""
    probabilities: Array = softmax(logits_nc / temperature, axis=1)
    return probabilities


def _loss(logits_nc: Array, references_n: IntArray, temperature: float) -> float:
    """Return the mean negative log likelihood in nats."""
    log_nc = log_softmax(logits_nc / temperature, axis=1)
    return -float(log_nc[np.arange(len(references_n)), references_n].mean())
