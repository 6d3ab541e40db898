"""The winner's validation score, corrected for the choice of the best of many noisy scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from orchestrator.core.metric import Metric
from orchestrator.core.trials.ranking import ranked_by_score
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.measurement_file import kept_validation
from orchestrator.evaluation.scores.score_intervals import SHARES, metric_intervals, possible
from orchestrator.evaluation.scores.seed_noise import assumed_sd, items_of, same_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics.intervals import Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectedScore:
    """The validation score to expect of the winner's configuration.

    Attributes:
        trial: the winner of the search.
        metric: name of the searched metric.
        raw: its value in the search.
        value: median-unbiased value after the choice.
        low, high: limits of its interval.
        level: confidence level in (0, 1).
        rows: number of validation rows.
        trials: number of trials among which the winner was chosen.
        seed_sd: assumed standard deviation between seeds, part of the correction; None: unknown, the correction holds
            the noise of the rows alone.
    """

    trial: int
    metric: str
    raw: float
    value: float
    low: float
    high: float
    level: float
    rows: int
    trials: int
    seed_sd: float | None

    @property
    def sentence(self) -> str:
        """The score in words, without a full stop."""
        noise = "one seed" if self.seed_sd is not None else "without the unknown noise of seeds"
        return (
            f"trial {self.trial} has {self.metric} {self.raw:.4f}, the best of {self.trials} trials; corrected for "
            f"this choice: {self.value:.3f} [{self.low:.3f}, {self.high:.3f}] "
            f"({100 * self.level:.0f} % interval: {self.rows:,} validation rows, {noise})"
        )


def corrected_winner(
    sweep_dir: Path, records: Sequence[TrialRecord], metric: Metric, training_rows: int | None
) -> CorrectedScore | None:
    """Return the winner's corrected validation score, by the hybrid interval of ``statistics.winner_score``.

    The common noise of two trials on the same rows comes from the stored rows of the kept adapters; other trials count
    with the mean of these. For a mean over rows (accuracy, loss, a metric with a value per row) it is the covariance of
    the rows, for macro-F1 and F1 of entities that over resampled rows (``statistics.bootstrapped_covariance``). The
    standard deviation of accuracy and macro-F1 between seeds is assumed (``seed_noise.assumed_sd``), that of any other
    metric is unknown and left out. The choice of the best report of each trial is not corrected.

    Args:
        sweep_dir: folder of the sweep.
        records: the trials, in any order.
        metric: the searched metric.
        training_rows: number of the sweep's training rows; None: unknown.

    Returns:
        None if the metric does not follow from the rows, for fewer than 2 trials with a score, and without stored rows
        of the winner and one other trial.
    """
    ranked = ranked_by_score(records, metric)
    # With constraints the winner is the best of the trials within them alone.
    ranked = [trial for trial in ranked if trial.violation(metric) == ranked[0].violation(metric)]
    split, _, name = metric.name.partition("/")
    if split != "val" or len(ranked) < 2:
        return None
    stored = {trial.number: kept_validation(sweep_dir, trial, metric) for trial in ranked}
    measured = {number: each for number, each in stored.items() if each is not None and follows(name, each)}
    rows = {number: each.rows for number, each in measured.items()}
    winner = ranked[0]
    if winner.number not in rows or not same_rows([*rows.values()]):
        return None
    seed_sd = assumed_sd(name, rows[winner.number], winner.training_rows(training_rows))
    found = _corrected(ranked, rows, metric, seed_sd or 0.0)
    if found is None or not all(map(math.isfinite, (found.low, found.high))):
        return None
    low, high = possible(name, found)
    return CorrectedScore(
        trial=winner.number,
        metric=metric.name,
        raw=float(winner.score(metric) or 0.0),
        value=found.value,
        low=max(0.0, low) if name == "loss" else low,
        high=high,
        level=found.level,
        rows=len(rows[winner.number].scores.get(name, rows[winner.number].losses)),
        trials=len(ranked),
        seed_sd=seed_sd,
    )


def follows(name: str, measured: Measurement) -> bool:
    """Return whether the noise of a metric follows from the rows of a measurement, and its value is theirs.

    Args:
        name: the metric without a split.
        measured: a measurement with its rows.
    """
    if name == "loss":
        return len(measured.rows.losses) > 1
    found = metric_intervals({name: measured.metrics.get(name, math.nan)}, measured.rows, None)
    return name in found and name != "perplexity"


def _corrected(
    ranked: Sequence[TrialRecord], rows: Mapping[int, RowMeasures], metric: Metric, seed_sd: float
) -> "Interval | None":
    """Return the interval of the first trial's score; ``rows`` has its rows and those of at least one other trial."""
    import numpy as np

    from orchestrator.statistics.selection import scaled_variance, share_variance, winner_score

    winner, name = ranked[0].number, metric.name.partition("/")[2]
    scores = rows[winner].scores.get(name, ())
    num_rows, share = len(scores or rows[winner].losses), name == "accuracy" or {*scores} == {0.0, 1.0}
    covariance_k = _covariance(name, [*rows.values()], [*rows].index(winner), seed_sd**2)
    known = dict(zip(rows, map(float, covariance_k), strict=True))
    if not known[winner] > 0:
        return None
    typical = fmean(value for number, value in known.items() if number != winner)
    scores_k = np.array([trial.score(metric) for trial in ranked], dtype=float)
    variance = share_variance(num_rows, seed_sd**2) if share else None
    in_unit = name in SHARES and 0 <= scores_k[0] <= 1  # an own metric of this name may be in percent
    if variance is None and in_unit:
        variance = scaled_variance(float(scores_k[0]), known[winner] - seed_sd**2, num_rows, seed_sd**2)
    return winner_score(
        scores_k,
        np.array([known.get(trial.number, typical) for trial in ranked]),
        variance=variance,
        # One row changes a metric in [0, 1] by about 1 / rows; nearer values are ties.
        step=1 / num_rows if share or in_unit else 0.0,
        direction=metric.direction,
    ).corrected


def _covariance(name: str, rows: Sequence[RowMeasures], winner: int, seed_variance: float) -> "NDArray[np.float64]":
    """Return the covariance of each trial's score with the winner's, shape (k,)."""
    import numpy as np

    from orchestrator.statistics.resampling import row_draws
    from orchestrator.statistics.row_metrics import DRAWS, class_statistic, item_statistic, macro_f1
    from orchestrator.statistics.selection import bootstrapped_covariance, covariance_with_winner

    predictions_kn, references_n = np.array([each.predictions for each in rows]), np.array(rows[0].references)
    items = [items_of(each) for each in rows]
    if name == "macro_f1" and len(references_n):
        statistic, sizes_g = class_statistic(predictions_kn, references_n, macro_f1)
    elif name == "f1" and all(items):
        statistic, sizes_g = item_statistic(np.array(items))
    else:
        if name == "accuracy":
            values_kn = (predictions_kn == references_n).astype(float)
        elif name == "loss":  # a ratio of sums: its linear part at each row
            units_kn = np.array([each.units for each in rows])
            losses_kn = np.array([each.losses for each in rows])
            ratios_k1 = losses_kn.sum(axis=1, keepdims=True) / units_kn.sum(axis=1, keepdims=True)
            values_kn = (losses_kn - ratios_k1 * units_kn) / units_kn.mean(axis=1, keepdims=True)
        else:
            values_kn = np.array([each.scores[name] for each in rows])
        return covariance_with_winner(values_kn, winner, seed_variance)
    values_dk = row_draws(statistic, sizes_g, np.random.default_rng(0), DRAWS)
    return bootstrapped_covariance(values_dk, winner, seed_variance)
