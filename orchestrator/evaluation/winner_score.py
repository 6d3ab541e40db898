"""The winner's validation score, corrected for the choice of the best of many noisy scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from orchestrator.core.metric import Metric
from orchestrator.core.ranking import ranked_by_score
from orchestrator.core.row_measures import RowMeasures
from orchestrator.core.trial import TrialRecord
from orchestrator.evaluation.measurement_file import kept_validation
from orchestrator.evaluation.seed_noise import assumed_seed_sd

if TYPE_CHECKING:
    from orchestrator.statistics.intervals import Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectedScore:
    """The validation accuracy or loss to expect of the winner's configuration.

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
    """Return the winner's corrected validation accuracy or loss, by the hybrid interval of ``statistics.winner_score``.

    The common noise of two trials on the same rows comes from the stored rows of the kept adapters; other trials count
    with the mean of these. The standard deviation of an accuracy between seeds is assumed
    (``seed_noise.assumed_seed_sd``), that of a loss is unknown and left out. The choice of the best report of each
    trial is not corrected.

    Args:
        sweep_dir: folder of the sweep.
        records: the trials, in any order.
        metric: the searched metric.
        training_rows: number of the sweep's training rows; None: unknown.

    Returns:
        None for another metric than ``val/accuracy`` and ``val/loss``, for fewer than 2 trials with a score, and
        without stored rows of the winner and one other trial.
    """
    ranked = ranked_by_score(records, metric)
    # With constraints the winner is the best of the trials within them alone.
    ranked = [trial for trial in ranked if trial.violation(metric) == ranked[0].violation(metric)]
    if metric.name not in {"val/accuracy", "val/loss"} or len(ranked) < 2:
        return None
    measured = {trial.number: kept_validation(sweep_dir, trial, metric) for trial in ranked}
    rows = {number: each.rows for number, each in measured.items() if each is not None and each.rows.predictions}
    winner = ranked[0]
    if winner.number not in rows or len(rows) < 2 or len({each.references for each in rows.values()}) > 1:
        return None
    loss = metric.name == "val/loss"
    seed_sd = None if loss else assumed_seed_sd(winner.training_rows(training_rows))
    found = _corrected(ranked, rows, metric, seed_sd or 0.0)
    if not all(map(math.isfinite, (found.low, found.high))):
        return None
    return CorrectedScore(
        trial=winner.number,
        metric=metric.name,
        raw=float(winner.score(metric) or 0.0),
        value=found.value,
        low=max(0.0, found.low),
        high=found.high if loss else min(1.0, found.high),
        level=found.level,
        rows=len(rows[winner.number].references),
        trials=len(ranked),
        seed_sd=seed_sd,
    )


def _corrected(
    ranked: Sequence[TrialRecord], rows: Mapping[int, RowMeasures], metric: Metric, seed_sd: float
) -> "Interval":
    """Return the interval of the first trial's score; ``rows`` has its rows and those of at least one other trial."""
    import numpy as np

    from orchestrator.statistics.selection import covariance_with_winner, share_variance, winner_score

    winner, loss = ranked[0].number, metric.name == "val/loss"
    references_n = np.array(rows[winner].references)
    if loss:  # the rows of a classifier, each of one unit
        values_kn = np.array([each.losses for each in rows.values()])
    else:
        values_kn = (np.array([each.predictions for each in rows.values()]) == references_n).astype(float)
    covariance_k = covariance_with_winner(values_kn, [*rows].index(winner), seed_sd**2)
    known = dict(zip(rows, map(float, covariance_k), strict=True))
    typical = fmean(value for number, value in known.items() if number != winner)
    return winner_score(
        np.array([trial.score(metric) for trial in ranked], dtype=float),
        np.array([known.get(trial.number, typical) for trial in ranked]),
        variance=None if loss else share_variance(len(references_n), seed_sd**2),
        step=0.0 if loss else 1 / len(references_n),
        direction=metric.direction,
    ).corrected
