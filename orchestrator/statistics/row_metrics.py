"""Bootstrap intervals over rows: macro-F1, and any metric of counted rows."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.intervals import Interval
from orchestrator.statistics.resampling import RowStatistic, bca_interval, row_draws

Array: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
ClassMetric: TypeAlias = Callable[[IntArray, IntArray, IntArray], Array]
"""Maps counts (d, g), predictions (g,) and references (g,) to values (d,): see ``macro_f1``."""

DRAWS = 4000
"""Resamplings of an interval. The limits of a 95 % interval then vary by about 2 % of its width."""


def bootstrap_interval(
    statistic: RowStatistic,
    rows: int,
    generator: np.random.Generator,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """Return the BCa bootstrap interval of a metric over rows; see ``bca_interval`` for the formula and its source.

    Args:
        statistic: maps counts of shape (d, rows) to values of shape (d,). A count is how often the row was drawn.
        rows: number of rows. The cost grows with its square, so group equal rows above some 10,000: see
            ``resampling.bca_interval``.
        generator: source of the draws.
        draws: number of resamplings.
        level: confidence level in (0, 1).
    """
    sizes = np.ones(rows, dtype=np.int64)
    return bca_interval(statistic, sizes, row_draws(statistic, sizes, generator, draws), level)


def macro_f1_interval(
    predictions_n: IntArray,
    references_n: IntArray,
    generator: np.random.Generator,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """Return the BCa bootstrap interval of macro-F1 over rows.

    Rows with equal prediction and reference are one group, so a draw costs as much as the confusion matrix is large.

    Args:
        predictions_n: predicted class id of each row.
        references_n: true class id of each row.
        generator: source of the draws.
        draws: number of resamplings.
        level: confidence level in (0, 1).
    """
    kinds_2g, sizes_g = np.unique(np.stack([predictions_n, references_n]), axis=1, return_counts=True)

    def statistic(counts_dg: IntArray) -> Array:
        return macro_f1(counts_dg, kinds_2g[0], kinds_2g[1])

    return bca_interval(statistic, sizes_g, row_draws(statistic, sizes_g, generator, draws), level)


def macro_f1(counts_dg: IntArray, predictions_g: IntArray, references_g: IntArray) -> Array:
    """Return macro-F1 in [0, 1] for each line of counts, shape (d,).

    F1 of a class is 2 tp / (2 tp + fp + fn). The mean is over the classes true or predicted in at least one counted
    row, as in ``orchestrator.evaluation.metrics``. NaN without any row.
    """
    classes = np.unique(np.concatenate([predictions_g, references_g]))
    predicted_gc = predictions_g[:, None] == classes
    true_gc = references_g[:, None] == classes
    hits_dc = counts_dg @ (predicted_gc & true_gc).astype(np.float64)
    either_dc = counts_dg @ (predicted_gc.astype(np.float64) + true_gc)
    seen_dc = either_dc > 0
    f1_dc = np.divide(2 * hits_dc, either_dc, out=np.zeros_like(hits_dc), where=seen_dc)
    num_seen = seen_dc.sum(axis=1)
    mean: Array = np.where(num_seen > 0, f1_dc.sum(axis=1) / np.maximum(num_seen, 1), np.nan)
    return mean


def item_f1(counts_dn: IntArray, items_3n: Array) -> Array:
    """Return F1 of items found in rows, such as entities, for each line of counts, shape (d,); 0 without items.

    Args:
        counts_dn: how often each row is counted.
        items_3n: right, predicted and true items of each row.
    """
    right_d, predicted_d, true_d = (counts_dn @ items_n for items_n in items_3n)
    either_d = predicted_d + true_d
    f1: Array = np.divide(2 * right_d, either_d, out=np.zeros_like(either_d), where=either_d > 0)
    return f1


def accuracy(counts_dg: IntArray, predictions_g: IntArray, references_g: IntArray) -> Array:
    """Return accuracy in [0, 1] for each line of counts, shape (d,)."""
    shares: Array = counts_dg @ (predictions_g == references_g).astype(np.float64) / counts_dg.sum(axis=1)
    return shares


def class_statistic(
    predictions_kn: IntArray, references_n: IntArray, metric: ClassMetric
) -> tuple[RowStatistic, IntArray]:
    """Return a metric of classes of several models as a function of counts, and the sizes of the groups of equal rows.

    The function maps counts of shape (d, g) to values of shape (d, k).

    Args:
        predictions_kn: predicted class ids, by model.
        references_n: true class ids.
        metric: see ``macro_f1``.
    """
    kinds, sizes_g = np.unique(np.vstack([predictions_kn, references_n]), axis=1, return_counts=True)

    def by_model(counts_dg: IntArray) -> Array:
        return np.stack([metric(counts_dg, each, kinds[-1]) for each in kinds[:-1]], axis=1)

    return by_model, sizes_g


def item_statistic(items_k3n: Array) -> tuple[RowStatistic, IntArray]:
    """Return F1 of items of several models as a function of counts; see ``class_statistic`` and ``item_f1``.

    Args:
        items_k3n: right, predicted and true items of each row, by model.
    """
    models, three, rows = items_k3n.shape
    kinds, sizes_g = np.unique(items_k3n.reshape(models * three, rows), axis=1, return_counts=True)
    kinds_k3g = kinds.reshape(models, three, -1)

    def by_model(counts_dg: IntArray) -> Array:
        return np.stack([item_f1(counts_dg, items_3g) for items_3g in kinds_k3g], axis=1)

    return by_model, sizes_g
