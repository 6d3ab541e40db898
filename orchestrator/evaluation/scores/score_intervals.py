"""Intervals of a kept adapter's test metrics, and paired tests of several adapters on the same rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.metric import Direction
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.calibration import CALIBRATION_ERROR, calibration_limits
from orchestrator.evaluation.scores.seed_noise import (
    assumed_noise,
    have_scores,
    items_of,
    same_rows,
    same_units,
    seeds_score,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics.intervals import Interval
    from orchestrator.statistics.paired import PairedTest
    from orchestrator.statistics.ties import Ties

SHARES = frozenset(
    {
        *("accuracy", "macro_f1", "f1", "character_f1", "exact_match", "rouge_1", "rouge_2", "rouge_l"),
        *("preference_accuracy", "logp_accuracy"),
    }
)
"""Metrics in [0, 1], and their intervals too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricInterval:
    """The confidence interval of a metric of one adapter.

    Attributes:
        low, high: limits, in the unit of the metric.
        level: confidence level in (0, 1).
        rows: number of rows, at least 2; of several samples that of the first.
        seed_sd: standard deviation of the metric between seeds, part of the interval: assumed for one seed, estimated
            for several. None: unknown, the interval holds the noise of the rows alone.
        seeds: number of trained seeds.
        of: what the rows are, in words.
        beside: the other samples, in words; empty for one sample.
    """

    low: float
    high: float
    level: float
    rows: int
    seed_sd: float | None
    seeds: int = 1
    of: str = "test rows"
    beside: str = ""

    @property
    def samples(self) -> str:
        """The measured rows, in words: ``1,500 test rows and 800 rows of tweets``."""
        return f"{self.rows:,} {self.of}{self.beside}"

    def around(self, value: float) -> "Interval":
        """Return the limits with the measured value."""
        from orchestrator.statistics.intervals import Interval

        return Interval(value=value, low=self.low, high=self.high, level=self.level)

    @property
    def sources(self) -> str:
        """The sources of noise in the interval, in words."""
        rows = f"the noise of {self.samples}"
        if self.seeds > 1:
            return f"{rows} and of {self.seeds} seeds"
        if self.seed_sd is None:
            return f"{rows} alone (seed noise unknown)"
        return f"{rows} and of one seed (standard deviation between seeds assumed: {self.seed_sd:.2g})"


def metric_intervals(
    metrics: Mapping[str, float], rows: RowMeasures, training_rows: int | None
) -> dict[str, MetricInterval]:
    """Return the 95 % interval of each metric that follows from the rows, by name.

    These are ``accuracy`` (Wilson's interval) and ``macro_f1`` (bootstrap), both with ``seed_noise.assumed_sd``;
    ``loss`` and ``perplexity`` (Student's), metrics with a value per row in ``rows.scores`` (Student's), and the
    expected calibration error (bootstrap). All but the first two hold the noise of the rows alone. A metric has no
    interval if its value is not the one computed from the rows, for example because an objective defines it otherwise,
    or if the rows show no spread.

    Args:
        metrics: values by name, without a split.
        rows: the rows of the same measurement.
        training_rows: number of rows of the training; None: unknown.
    """
    found = {name: _interval(name, value, rows, training_rows) for name, value in metrics.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def seeds_interval(
    name: str, seeds: Sequence[RowMeasures], training_rows: int | None, folds: int | None = None
) -> MetricInterval | None:
    """Return the 95 % interval of the mean of a metric over trainings of one configuration with several seeds.

    It holds the noise of rows and seeds. The noise between seeds is that of the given seeds; for accuracy and macro-F1
    it is pooled with the assumed one.

    Args:
        name: a metric of ``seed_noise.seeds_score``, without a split.
        seeds: the rows of each training, the same rows in the same order.
        training_rows: number of rows of a training; None: unknown.
        folds: number of folds if the trainings have the training rows of different ones; the noise between seeds then
            holds that of the folds, and allows for the common training rows.

    Returns:
        None for another metric, for fewer than 2 seeds or rows, if the rows are not the same, and without any spread.
    """
    score = seeds_score(name, seeds, training_rows)
    if score is None:
        return None
    from orchestrator.statistics.noise import with_seed_noise

    if folds is not None:
        score = with_seed_noise(score.rows, score.seed_noise, score.seeds, 1 / (folds - 1))
    low, high = possible(name, score.total)
    if low == high:
        return None
    return MetricInterval(
        low=low,
        high=high,
        level=score.total.level,
        rows=len(seeds[0].scores.get(name, seeds[0].losses)),
        seed_sd=score.seed_noise.sd,
        seeds=len(seeds),
    )


def _interval(name: str, value: float, rows: RowMeasures, training_rows: int | None) -> MetricInterval | None:
    import numpy as np

    from orchestrator.statistics.intervals import mean_interval
    from orchestrator.statistics.noise import accuracy_score, with_seed_noise
    from orchestrator.statistics.row_metrics import macro_f1_interval

    if len(rows.losses) < 2 or not math.isfinite(value):
        return None
    predictions_n, references_n = np.array(rows.predictions), np.array(rows.references)
    noise = assumed_noise(name, rows, training_rows)
    if noise is not None:
        if name == "accuracy":
            interval = accuracy_score((predictions_n == references_n)[None, :], noise).total
        else:
            interval = macro_f1_interval(predictions_n, references_n, np.random.default_rng(0))
            if interval.low < interval.high:
                interval = with_seed_noise(interval, noise, 1).total
        limits = interval.value, *possible(name, interval)
    elif name in {"loss", "perplexity"}:
        interval = mean_interval(np.array(rows.losses), np.array(rows.units))
        limits = interval.value, interval.low, interval.high
        if name == "perplexity":
            limits = math.exp(limits[0]), math.exp(limits[1]), math.exp(min(limits[2], 700.0))
    elif name == "f1" and (items := items_of(rows)):
        interval = _item_interval(np.array(items))
        limits = interval.value, *possible(name, interval)
    elif name == CALIBRATION_ERROR and rows.logits:
        interval = calibration_limits(rows)
        limits = interval.value, interval.low, interval.high
    elif len(rows.scores.get(name, ())) > 1:
        interval = mean_interval(np.array(rows.scores[name]))
        limits = interval.value, *possible(name, interval)
    else:
        return None
    computed, low, high = limits
    if not math.isclose(computed, value, rel_tol=1e-5, abs_tol=1e-9) or low == high:
        return None
    return MetricInterval(
        low=low,
        high=high,
        level=interval.level,
        rows=len(rows.scores.get(name, rows.losses)),
        seed_sd=None if noise is None else noise.sd,
    )


def possible(name: str, interval: "Interval") -> tuple[float, float]:
    """Return the ends of an interval; those of a share are in [0, 1]. An own metric of this name may be in percent."""
    if name in SHARES and 0 <= interval.value <= 1:
        return max(0.0, interval.low), min(1.0, interval.high)
    return interval.low, interval.high


def _item_interval(items_3n: "NDArray[np.float64]") -> "Interval":
    """Return the bootstrap interval of F1 over rows."""
    import numpy as np

    from orchestrator.statistics.resampling import bca_interval, row_draws
    from orchestrator.statistics.row_metrics import DRAWS, item_f1

    kinds_3g, sizes_g = np.unique(items_3n, axis=1, return_counts=True)

    def statistic(counts_dg: "NDArray[np.int64]") -> "NDArray[np.float64]":
        return item_f1(counts_dg, kinds_3g)

    values_d = row_draws(statistic, sizes_g, np.random.default_rng(0), DRAWS)
    return bca_interval(statistic, sizes_g, values_d, 0.95)


def _item_tests(items_k3n: "NDArray[np.float64]") -> "tuple[int, dict[int, PairedTest]]":
    """Return the place of the highest F1, and its test against each other place."""
    import numpy as np

    from orchestrator.statistics.paired import paired_f1
    from orchestrator.statistics.row_metrics import item_f1

    ones_1n = np.ones((1, items_k3n.shape[2]), dtype=np.int64)
    best = int(np.argmax([item_f1(ones_1n, items_3n)[0] for items_3n in items_k3n]))
    generator = np.random.default_rng(0)
    others = (place for place in range(len(items_k3n)) if place != best)
    return best, {place: paired_f1(items_k3n[best], items_k3n[place], generator) for place in others}


def adapter_ties(
    metric: str, rows: Mapping[int, RowMeasures], direction: Direction = Direction.MAXIMIZE
) -> "Ties | None":
    """Return the adapters that paired tests cannot tell apart from the best on the same rows.

    Accuracies are compared by the exact McNemar test, macro-F1 by a paired bootstrap, losses, perplexities and metrics
    with a value per row by Student's paired test. The p-values are adjusted by Holm's method. Rows of windows are
    paired by their keys, so adapters of different ``max_length`` can be compared, though not by their losses: a row
    has another number of windows then.

    Args:
        metric: name of the metric without a split.
        rows: rows of each adapter by the number of its trial; of equal values the first is the best.
        direction: direction of a metric with a value per row; other metrics have their own.

    Returns:
        None for other metrics, for fewer than 2 adapters or rows, and if the rows are not the same.
    """
    each = [*rows.values()]
    if not same_rows(each):
        return None
    import numpy as np  # status shows sweeps without stored rows, and starts faster without numpy

    from orchestrator.statistics.ties import accuracy_ties, tied_with_best

    trials, classes = [*rows], len(each[0].references) > 0
    predictions_kn = np.array([measured.predictions for measured in each])
    references_n = np.array(each[0].references)
    if metric == "accuracy" and classes:
        return accuracy_ties(trials, predictions_kn == references_n)
    if metric in {"loss", "perplexity"}:
        if not same_units(each):
            return None
        gains_kn, units_n = -np.array([measured.losses for measured in each]), np.array(each[0].units)
        best, tests = _mean_tests(gains_kn, units_n)
    elif metric == "macro_f1" and classes:
        best, tests = _f1_tests(predictions_kn, references_n)
    elif metric == "f1" and all(items := [items_of(measured) for measured in each]):
        best, tests = _item_tests(np.array(items))
    elif have_scores(metric, each):
        scores_kn = np.array([measured.scores[metric] for measured in each])
        gains_kn = -scores_kn if direction is Direction.MINIMIZE else scores_kn
        best, tests = _mean_tests(gains_kn, np.ones(scores_kn.shape[1]))
    else:
        return None
    return tied_with_best(trials[best], {trials[place]: test for place, test in tests.items()})


def _mean_tests(gains_kn: "NDArray[np.float64]", units_n: "NDArray[np.float64]") -> "tuple[int, dict[int, PairedTest]]":
    """Return the place of the highest mean, and its test against each other place."""
    from orchestrator.statistics.paired import paired_means

    best = int(gains_kn.sum(axis=1).argmax())
    others = (place for place in range(len(gains_kn)) if place != best)
    return best, {place: paired_means(gains_kn[best], gains_kn[place], units_n) for place in others}


def _f1_tests(
    predictions_kn: "NDArray[np.int64]", references_n: "NDArray[np.int64]"
) -> "tuple[int, dict[int, PairedTest]]":
    """Return the place of the highest macro-F1, and its test against each other place."""
    import numpy as np

    from orchestrator.statistics.paired import paired_bootstrap
    from orchestrator.statistics.row_metrics import macro_f1

    ones_1n = np.ones((1, len(references_n)), dtype=np.int64)
    best = int(np.argmax([macro_f1(ones_1n, predictions_n, references_n)[0] for predictions_n in predictions_kn]))
    generator = np.random.default_rng(0)
    return best, {
        place: paired_bootstrap(predictions_kn[best], predictions_kn[place], references_n, macro_f1, generator)
        for place in range(len(predictions_kn))
        if place != best
    }
