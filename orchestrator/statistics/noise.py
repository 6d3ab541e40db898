"""Intervals of scores with both sources of noise: the rows measured, and the seeds trained.

The score of a configuration is its mean over seeds and over all possible rows. Seed i of s, on n common rows, scores
x_i = score + a_i + (noise of the rows). The variances of the rows' noise and its covariances between seeds are known
from the rows. The variance of a, the noise between seeds, is estimated from the differences of the x_i, or taken from
earlier measurements.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from orchestrator.statistics.intervals import Interval, mean_interval, wilson_interval
from orchestrator.statistics.resampling import RowStatistic, bca_interval, row_draws
from orchestrator.statistics.row_metrics import DRAWS, ClassMetric, class_statistic

Array: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]


class SeedSource(enum.StrEnum):
    """Where a standard deviation between seeds comes from."""

    MEASURED = "measured"
    PRIOR = "prior"
    POOLED = "pooled"
    """Both, weighted by their degrees of freedom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedNoise:
    """The variance of a score between seeds, without the noise of the rows.

    Attributes:
        variance: unbiased estimate; negative if the seeds differ less than the rows' noise explains.
        degrees_of_freedom: degrees of freedom of the estimate; infinite: known.
        source: measured on these seeds, or given.
        origin: the measurement in words, for example the names of recorded tables; None: these seeds alone.
    """

    variance: float
    degrees_of_freedom: float
    source: SeedSource
    origin: str | None = None

    @property
    def sd(self) -> float:
        """The standard deviation, 0 for a negative variance."""
        return math.sqrt(max(self.variance, 0.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreInterval:
    """A score of a configuration with its interval.

    Attributes:
        total: mean score over the seeds; the interval holds the noise of rows and seeds.
        rows: the same score; the interval holds the noise of the rows alone. It is the interval of the trained
            adapters, not of their configuration.
        seed_noise: the noise between seeds in ``total``.
        seeds: number of seeds.
    """

    total: Interval
    rows: Interval
    seed_noise: SeedNoise
    seeds: int


def prior_noise(sd: float, origin: str, degrees_of_freedom: float = math.inf) -> SeedNoise:
    """Return the noise between seeds known from elsewhere, for example from recorded tables.

    Args:
        sd: standard deviation of the score between seeds.
        origin: the measurement in words.
        degrees_of_freedom: degrees of freedom of the measurement; infinite: known.
    """
    return SeedNoise(variance=sd**2, degrees_of_freedom=degrees_of_freedom, source=SeedSource.PRIOR, origin=origin)


def measured_noise(scores_s: Array, row_covariance_ss: Array) -> SeedNoise:
    """Return the noise between seeds: the variance of the scores, less the part explained by the rows.

    The part is mean(variances) - mean(covariances) of the rows' noise. For means over rows this is the estimate of a
    random two-way layout, (MS_seeds - MS_residual) / n. Source: Searle, Casella and McCulloch 1992, "Variance
    Components", section 4.3.

    Args:
        scores_s: score of each seed.
        row_covariance_ss: covariance of the scores due to the rows: ``row_covariance``, or that of bootstrap draws.

    Raises:
        ValueError: there are fewer than 2 seeds.
    """
    seeds = len(scores_s)
    if seeds < 2:
        raise ValueError("one seed does not show the noise between seeds; give a prior from recorded tables")
    return SeedNoise(
        variance=float(np.var(scores_s, ddof=1)) - interaction(row_covariance_ss),
        degrees_of_freedom=seeds - 1,
        source=SeedSource.MEASURED,
    )


def row_covariance(values_sn: Array) -> Array:
    """Return the covariance of the means over rows due to the choice of the rows, shape (s, s)."""
    covariance: Array = np.atleast_2d(np.cov(values_sn)) / values_sn.shape[1]
    return covariance


def interaction(covariance_ss: Array) -> float:
    """Return the mean variance less the mean covariance: the noise of the rows which the scores do not share."""
    size = len(covariance_ss)
    trace = float(np.trace(covariance_ss))
    return trace / size - (float(covariance_ss.sum()) - trace) / (size * (size - 1))


def pooled_noise(estimates: Sequence[SeedNoise]) -> SeedNoise:
    """Return the mean variance of independent estimates, weighted by their degrees of freedom.

    With a prior among them, this is the moderated variance of Smyth 2004, "Linear models and empirical Bayes methods",
    Statistical Applications in Genetics and Molecular Biology 3. A prior of infinite degrees is returned as it is.

    Args:
        estimates: at least one. The result names the measurements (``origin``) as the first one does that names some.
    """
    named = next((each.origin for each in estimates if each.origin), None)
    known = [each for each in estimates if math.isinf(each.degrees_of_freedom)]
    if known:
        return known[0]
    freedom = sum(each.degrees_of_freedom for each in estimates)
    sources = {each.source for each in estimates}
    return SeedNoise(
        variance=sum(each.variance * each.degrees_of_freedom for each in estimates) / freedom,
        degrees_of_freedom=freedom,
        source=sources.pop() if len(sources) == 1 else SeedSource.POOLED,
        origin=named,
    )


def noise_of_replicates(replicates: Sequence[Array], origin: str) -> SeedNoise:
    """Return a prior from configurations trained with several seeds, for example in a recorded table.

    Args:
        replicates: value of each row by seed, shape (s, n), one array per configuration; s is at least 2.
        origin: the measurement in words.

    Raises:
        ValueError: there are no replicates.
    """
    if not replicates:
        raise ValueError("the noise between seeds needs a configuration with at least 2 seeds")
    pooled = pooled_noise([measured_noise(each.mean(axis=1), row_covariance(each)) for each in replicates])
    return prior_noise(pooled.sd, origin, pooled.degrees_of_freedom)


def with_seed_noise(rows: Interval, noise: SeedNoise, seeds: int, overlap: float = 0.0) -> ScoreInterval:
    """Return the interval of a mean score over seeds from its interval over rows and the noise between seeds.

    Each limit is as far from the value as the root of the summed squares of two distances: that of the row interval,
    and t sd / sqrt(seeds), with the degrees of freedom of the noise. The result keeps the asymmetry of the row
    interval, and its limits may lie outside of the metric's range. Source: Zou and Donner 2008, "Construction of
    confidence limits about effect measures: a general approach", Statistics in Medicine 27.

    Args:
        rows: the interval of the mean over seeds with the noise of the rows alone.
        noise: the noise between seeds.
        seeds: number of seeds.
        overlap: for trainings on folds, the ratio of validation to training rows, added to 1 / seeds; see
            ``intervals.folds_interval``. 0: the trainings are independent of each other.
    """
    t = float(stdtrit(min(noise.degrees_of_freedom, 1e9), (1 + rows.level) / 2))
    half = t * noise.sd * math.sqrt(1 / seeds + overlap)
    total = Interval(
        value=rows.value,
        low=rows.value - math.hypot(rows.value - rows.low, half),
        high=rows.value + math.hypot(rows.high - rows.value, half),
        level=rows.level,
    )
    return ScoreInterval(total=total, rows=rows, seed_noise=noise, seeds=seeds)


def mean_score(
    values_sn: Array, prior: SeedNoise | None = None, units_n: Array | None = None, level: float = 0.95
) -> ScoreInterval:
    """Return the interval of a mean over rows, such as a loss, from the values of each seed on the same rows.

    Args:
        values_sn: sum of each row, by seed.
        prior: noise between seeds from earlier measurements; pooled with the measured one.
        units_n: positive weight of each row, for example its predicted tokens; None: 1.
        level: confidence level in (0, 1).

    Raises:
        ValueError: there is one seed and no prior, or there are fewer than 2 rows.
    """
    rows = mean_interval(values_sn.mean(axis=0), units_n, level)
    units = np.ones(values_sn.shape[1]) if units_n is None else units_n
    scores_s = values_sn.sum(axis=1) / units.sum()
    covariance = row_covariance((values_sn - scores_s[:, None] * units) / units.mean())
    return with_seed_noise(rows, _noise(scores_s, covariance, prior), len(values_sn))


def accuracy_score(correct_sn: NDArray[np.bool_], prior: SeedNoise | None = None, level: float = 0.95) -> ScoreInterval:
    """Return the interval of accuracy from the right and wrong rows of each seed on the same rows.

    With one seed the row part is Wilson's interval, with several it is Student's of the rows' means over seeds.

    Raises:
        ValueError: there is one seed and no prior.
    """
    values_sn = correct_sn.astype(np.float64)
    score = mean_score(values_sn, prior, level=level)
    if len(correct_sn) > 1:
        return score
    rows = wilson_interval(int(correct_sn.sum()), correct_sn.shape[1], level)
    return with_seed_noise(rows, score.seed_noise, 1)


def class_score(
    predictions_sn: IntArray,
    references_n: IntArray,
    metric: ClassMetric,
    generator: np.random.Generator,
    prior: SeedNoise | None = None,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> ScoreInterval:
    """Return the interval of a metric of classes, such as macro-F1, from the predictions of each seed.

    The row part is a BCa bootstrap of the mean over seeds; all seeds are evaluated on the same resampled rows.

    Args:
        predictions_sn: predicted class ids, by seed.
        references_n: true class ids.
        metric: see ``row_metrics.macro_f1``.
        generator: source of the draws.
        prior: noise between seeds from earlier measurements; pooled with the measured one.
        draws: number of resamplings.
        level: confidence level in (0, 1).

    Raises:
        ValueError: there is one seed and no prior.
    """
    by_seed, sizes_g = class_statistic(predictions_sn, references_n, metric)
    return bootstrapped_score(by_seed, sizes_g, generator, prior, draws=draws, level=level)


def bootstrapped_score(
    by_seed: RowStatistic,
    sizes_g: IntArray,
    generator: np.random.Generator,
    prior: SeedNoise | None = None,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> ScoreInterval:
    """Return the interval of a mean score over seeds by resampling rows, with the noise between the seeds.

    The row part is a BCa bootstrap of the mean over seeds (Efron 1987); all seeds are scored on the same resampled
    rows. The covariance of the scores over the resamplings is the rows' part of the differences between seeds.

    Args:
        by_seed: maps counts of the groups of equal rows, shape (d, g), to the score of each seed, shape (d, s).
        sizes_g: number of rows in each group.
        generator: source of the draws.
        prior: noise between seeds from earlier measurements; pooled with the measured one.
        draws: number of resamplings.
        level: confidence level in (0, 1).

    Raises:
        ValueError: there is one seed and no prior.
    """

    def mean(counts_dg: IntArray) -> Array:
        return np.asarray(by_seed(counts_dg).mean(axis=1), dtype=np.float64)

    values_ds = row_draws(by_seed, sizes_g, generator, draws)
    rows = bca_interval(mean, sizes_g, np.asarray(values_ds.mean(axis=1), dtype=np.float64), level)
    scores_s = by_seed(sizes_g[None, :])[0]
    noise = _noise(scores_s, np.atleast_2d(np.cov(values_ds, rowvar=False)), prior)
    return with_seed_noise(rows, noise, len(scores_s))


def _noise(scores_s: Array, covariance_ss: Array, prior: SeedNoise | None) -> SeedNoise:
    """Return the measured noise, the prior, or both pooled."""
    if prior is not None and len(scores_s) == 1:
        return prior
    measured = measured_noise(scores_s, covariance_ss)
    return measured if prior is None else pooled_noise([prior, measured])
