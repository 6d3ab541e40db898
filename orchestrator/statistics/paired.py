"""Paired comparisons on the same rows: exact McNemar, paired bootstrap, power, and Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, ndtri, stdtr, stdtrit
from scipy.stats import binom

from orchestrator.statistics.intervals import Interval, mean_interval
from orchestrator.statistics.resampling import bca_interval, row_draws
from orchestrator.statistics.row_metrics import DRAWS, ClassMetric, item_f1

Array: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTest:
    """A challenger against a champion on the same rows.

    Attributes:
        difference: challenger less champion, higher is better, with its interval.
        p_better: p-value against "the challenger is not better"; small: it is better.
        p_differs: p-value against "they are equally good", two-sided.
        rows: number of rows.
        discordant: number of rows which exactly one of the two classifies rightly; None: not an accuracy.
    """

    difference: Interval
    p_better: float
    p_differs: float
    rows: int
    discordant: int | None


def mcnemar(challenger_n: BoolArray, champion_n: BoolArray, level: float = 0.95) -> PairedTest:
    """Return the exact McNemar test of two accuracies.

    Of the discordant rows, b are right for the challenger alone and c for the champion alone. Under equal accuracy b is
    binomial with b + c tries and probability 1/2 (McNemar 1947, Psychometrika 12). The interval of (b - c) / n is the
    adjusted Wald interval: with p = (b + 1) / (n + 2) and q = (c + 1) / (n + 2) it is p - q ± z sqrt((p + q - (p - q)²)
    / (n + 2)) (Bonett and Price 2012, Journal of Educational and Behavioral Statistics 37). The p-values come from the
    exact test, so interval and test may differ at the margin.

    The test speaks of the two trained adapters. It does not know how other seeds of the same configurations would
    differ: see ``p_with_seed_noise``.

    Args:
        challenger_n: whether the challenger classifies each row rightly.
        champion_n: the same for the champion.
        level: confidence level of the interval in (0, 1).

    Raises:
        ValueError: the rows differ in number, or there are none.
    """
    rows = _rows(challenger_n, champion_n)
    wins = int(np.count_nonzero(challenger_n & ~champion_n))
    losses = int(np.count_nonzero(champion_n & ~challenger_n))
    plus, minus = (wins + 1) / (rows + 2), (losses + 1) / (rows + 2)
    half = float(ndtri((1 + level) / 2)) * math.sqrt((plus + minus - (plus - minus) ** 2) / (rows + 2))
    value, centre = (wins - losses) / rows, plus - minus
    tries = wins + losses
    return PairedTest(
        difference=Interval(
            value=value,
            low=max(-1.0, min(centre - half, value)),
            high=min(1.0, max(centre + half, value)),
            level=level,
        ),
        p_better=float(bdtrc(wins - 1, tries, 0.5)) if wins else 1.0,
        p_differs=min(1.0, 2 * float(bdtr(min(wins, losses), tries, 0.5))),
        rows=rows,
        discordant=tries,
    )


def paired_bootstrap(
    challenger_n: IntArray,
    champion_n: IntArray,
    references_n: IntArray,
    metric: ClassMetric,
    generator: np.random.Generator,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> PairedTest:
    """Return the bootstrap test of the difference of a metric of classes, such as macro-F1; higher is better.

    Both models are evaluated on the same resampled rows. ``p_better`` is the share of draws with a difference of 0 or
    less, with one added to both counts; ``p_differs`` is twice the smaller tail. Sources: Efron and Tibshirani 1993,
    "An Introduction to the Bootstrap", chapter 16; Davison and Hinkley 1997, section 4.4, for the added one.

    Args:
        challenger_n: class ids predicted by the challenger.
        champion_n: class ids predicted by the champion.
        references_n: true class ids.
        metric: see ``row_metrics.macro_f1``.
        generator: source of the draws.
        draws: number of resamplings.
        level: confidence level in (0, 1).

    Raises:
        ValueError: the rows differ in number, or there are none.
    """
    rows = _rows(challenger_n, champion_n, references_n)
    kinds_3g, sizes_g = np.unique(np.stack([challenger_n, champion_n, references_n]), axis=1, return_counts=True)

    def statistic(counts_dg: IntArray) -> Array:
        first, second, true = kinds_3g
        return metric(counts_dg, first, true) - metric(counts_dg, second, true)

    values_d = row_draws(statistic, sizes_g, generator, draws)
    return _bootstrapped(bca_interval(statistic, sizes_g, values_d, level), values_d, rows)


def paired_f1(
    challenger_3n: Array,
    champion_3n: Array,
    generator: np.random.Generator,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> PairedTest:
    """Return the bootstrap test over rows of the difference of two F1 of items; see ``paired_bootstrap``.

    Args:
        challenger_3n: right, predicted and true items of each row, for the challenger.
        champion_3n: the same for the champion.
        generator: source of the draws.
        draws: number of resamplings.
        level: confidence level in (0, 1).

    Raises:
        ValueError: the rows differ in number, or there are none.
    """
    rows = _rows(challenger_3n[0], champion_3n[0])
    kinds_6g, sizes_g = np.unique(np.concatenate([challenger_3n, champion_3n]), axis=1, return_counts=True)

    def statistic(counts_dg: IntArray) -> Array:
        return item_f1(counts_dg, kinds_6g[:3]) - item_f1(counts_dg, kinds_6g[3:])

    values_d = row_draws(statistic, sizes_g, generator, draws)
    return _bootstrapped(bca_interval(statistic, sizes_g, values_d, level), values_d, rows)


def paired_means(
    challenger_n: Array, champion_n: Array, units_n: Array | None = None, level: float = 0.95
) -> PairedTest:
    """Return the paired t test of two means over rows; higher is better, so negate losses.

    The test is Student's, of the differences of the rows: see ``mean_interval``. Source: Student 1908, Biometrika 6.

    Args:
        challenger_n: sum of each row for the challenger, for example its negated summed loss.
        champion_n: the same for the champion.
        units_n: positive weight of each row, for example its predicted tokens; None: 1.
        level: confidence level of the interval in (0, 1).

    Raises:
        ValueError: the rows differ in number, or there are fewer than 2.
    """
    rows = _rows(challenger_n, champion_n)
    difference = mean_interval(challenger_n - champion_n, units_n, level)
    half = difference.high - difference.value
    if half > 0:
        p_better = float(stdtr(rows - 1, -difference.value / half * stdtrit(rows - 1, (1 + level) / 2)))
    else:
        p_better = 0.0 if difference.value > 0 else 1.0
    p_differs = 1.0 if difference.value == 0 else 2 * min(p_better, 1 - p_better)
    return PairedTest(difference=difference, p_better=p_better, p_differs=p_differs, rows=rows, discordant=None)


def p_with_seed_noise(test: PairedTest, seed_sd: float, seeds: tuple[int, int] = (1, 1)) -> float:
    """Return the p-value against "the challenger's configuration is not better", over seeds and rows.

    Another seed of the champion is not a better configuration, although it may be a better adapter on these rows. The
    difference is normal with the variance of the rows plus seed_sd² (1/a + 1/b). The variance of the rows is taken from
    the width of the test's interval. Never below ``test.p_better``.

    Args:
        test: the paired test.
        seed_sd: standard deviation of the score between seeds, without the noise of the rows.
        seeds: number of seeds of challenger and champion over which their scores are means.
    """
    sd = math.sqrt(_row_sd(test) ** 2 + seed_sd**2 * (1 / seeds[0] + 1 / seeds[1]))
    tail = 0.5 * math.erfc(test.difference.value / (sd * math.sqrt(2))) if sd > 0 else 1.0
    return max(test.p_better, tail)


def mcnemar_power(rows: int, gain: float, discordance: float, alpha: float = 0.05) -> float:
    """Return the probability in [0, 1] with which the exact one-sided McNemar test finds a true gain.

    The number m of discordant rows is binomial with ``rows`` tries. Of m rows the challenger wins a binomial number
    with probability (discordance + gain) / (2 discordance); the test rejects from its exact critical value on. Source:
    Duffy 1984, "Asymptotic and exact power for the McNemar test", Biometrics 40.

    Args:
        rows: number of rows.
        gain: true difference of the accuracies, in (0, discordance].
        discordance: share of rows which exactly one of the two classifies rightly, in (0, 1].
        alpha: level of the test.

    Raises:
        ValueError: gain or discordance is out of range.
    """
    _check_effect(gain, discordance)
    tries = np.arange(rows + 1)
    weights = binom.pmf(tries, rows, discordance)
    critical = binom.isf(alpha, tries, 0.5) + 1  # smallest count with an upper tail of at most alpha
    wins = binom.sf(critical - 1, tries, (discordance + gain) / (2 * discordance))
    return float(np.sum(weights * wins))


def rows_to_decide(gain: float, discordance: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return the number of rows at which the exact one-sided McNemar test finds a true gain with the given power.

    The search starts at the normal approximation (z_alpha sqrt(d) + z_power sqrt(d - gain²))² / gain² with discordance
    d (Connor 1987, Biometrics 43) and bisects the exact power. The exact power is a saw-tooth in the number of rows, so
    a few rows less may reach it as well.

    Raises:
        ValueError: gain or discordance is out of range.
    """
    _check_effect(gain, discordance)
    z_alpha, z_power = (float(ndtri(1 - each)) for each in (alpha, 1 - power))
    spread = math.sqrt(max(discordance - gain**2, 0.0))
    high = max(8, math.ceil(((z_alpha * math.sqrt(discordance) + z_power * spread) / gain) ** 2))
    while mcnemar_power(high, gain, discordance, alpha) < power:
        high = math.ceil(high * 1.2)
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if mcnemar_power(middle, gain, discordance, alpha) < power:
            low = middle
        else:
            high = middle
    return high


def rows_for_difference(
    test: PairedTest, gain: float, seed_sd: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return the number of rows at which a one-sided test of any metric finds a true gain; None: no number does.

    The variance of the rows, from the width of the test's interval, falls with their number; that of one seed each, 2
    seed_sd², stays. Rows suffice when the root of the sum is at most gain / (z_alpha + z_power). None means that only
    more seeds can decide. For accuracies ``rows_to_decide`` is exact.

    Args:
        test: a paired test on some rows.
        gain: positive true difference to be found.
        seed_sd: standard deviation of the score between seeds; 0: the two adapters are compared.
        power: probability of finding the gain.
        alpha: level of the test.
    """
    z = float(ndtri(1 - alpha)) + float(ndtri(power))
    left = (gain / z) ** 2 - 2 * seed_sd**2
    return None if left <= 0 else max(2, math.ceil(test.rows * _row_sd(test) ** 2 / left))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the given order.

    The r-th smallest of m p-values is multiplied by m - r + 1, and is at least the one before and at most 1. Source:
    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _row_sd(test: PairedTest) -> float:
    """Return the standard deviation of the difference due to the rows, from the width of its interval."""
    interval = test.difference
    return (interval.high - interval.low) / (2 * float(ndtri((1 + interval.level) / 2)))


def _bootstrapped(difference: Interval, values_d: Array, rows: int) -> PairedTest:
    """Return the test of a difference with its draws."""
    total = 1 + len(values_d)
    not_better = (1 + np.count_nonzero(values_d <= 0)) / total
    not_worse = (1 + np.count_nonzero(values_d >= 0)) / total
    return PairedTest(
        difference=difference,
        p_better=float(not_better),
        p_differs=float(min(1.0, 2 * min(not_better, not_worse))),
        rows=rows,
        discordant=None,
    )


def _rows(*arrays: NDArray[np.generic]) -> int:
    """Return the number of rows of all arrays."""
    numbers = {len(each) for each in arrays}
    if len(numbers) != 1 or numbers == {0}:
        raise ValueError(f"a paired test needs the same rows for both models, got {sorted(numbers)} rows")
    return numbers.pop()


def _check_effect(gain: float, discordance: float) -> None:
    if not 0 < gain <= discordance <= 1:
        raise ValueError(f"need 0 < gain <= discordance <= 1, got gain {gain} and discordance {discordance}")
