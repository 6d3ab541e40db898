"""The winner's validation score, corrected for the choice of the best of many noisy scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.ranking import ranked_by_score
from orchestrator.core.trial import TrialRecord
from orchestrator.evaluation.measurement_file import kept_validation
from orchestrator.evaluation.score_intervals import SEED_SD


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectedScore:
    """The validation accuracy to expect of the winner's configuration.

    Attributes:
        trial: the winner of the search.
        metric: name of the searched metric.
        raw: its value in the search.
        value: median-unbiased value after the choice.
        low, high: limits of its interval.
        level: confidence level in (0, 1).
        rows: number of validation rows.
        trials: number of trials among which the winner was chosen.
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

    @property
    def sentence(self) -> str:
        """The score in words, without a full stop."""
        return (
            f"trial {self.trial} has {self.metric} {self.raw:.4f}, the best of {self.trials} trials; corrected for "
            f"this choice: {self.value:.3f} [{self.low:.3f}, {self.high:.3f}] "
            f"({100 * self.level:.0f} % interval: {self.rows:,} validation rows, one seed)"
        )


def corrected_winner(sweep_dir: Path, records: Sequence[TrialRecord], metric: Metric) -> CorrectedScore | None:
    """Return the winner's corrected validation accuracy, by the hybrid interval of ``statistics.winner_score``.

    The common noise of two trials on the same rows comes from the stored rows of the kept adapters; other trials count
    with the mean of these. The standard deviation between seeds is assumed (``SEED_SD``). The choice of the best report
    of each trial is not corrected.

    Args:
        sweep_dir: folder of the sweep.
        records: the trials, in any order.
        metric: the searched metric.

    Returns:
        None for another metric than ``val/accuracy``, for fewer than 2 trials with a score, and without stored rows of
        the winner and one other trial.
    """
    ranked = ranked_by_score(records, metric)
    if metric.name != "val/accuracy" or len(ranked) < 2:
        return None
    measured = {trial.number: kept_validation(sweep_dir, trial, metric) for trial in ranked}
    rows = {number: each.rows for number, each in measured.items() if each is not None and each.rows.predictions}
    winner = ranked[0]
    if winner.number not in rows or len(rows) < 2 or len({each.references for each in rows.values()}) > 1:
        return None
    import numpy as np

    from orchestrator.statistics.selection import covariance_with_winner, share_variance, winner_score

    stored = [*rows]
    references_n = np.array(rows[winner.number].references)
    correct_kn = np.array([rows[number].predictions for number in stored]) == references_n
    known = dict(
        zip(
            stored,
            covariance_with_winner(correct_kn.astype(float), stored.index(winner.number), SEED_SD**2),
            strict=True,
        )
    )
    others = [value for number, value in known.items() if number != winner.number]
    covariance_k = np.array([known.get(trial.number, sum(others) / len(others)) for trial in ranked])
    scores_k = np.array([trial.score(metric) for trial in ranked], dtype=float)
    count = len(references_n)
    found = winner_score(
        scores_k,
        covariance_k,
        variance=share_variance(count, SEED_SD**2),
        step=1 / count,
        direction=metric.direction,
    ).corrected
    if not all(map(math.isfinite, (found.low, found.high))):
        return None
    return CorrectedScore(
        trial=winner.number,
        metric=metric.name,
        raw=float(scores_k[0]),
        value=found.value,
        low=max(0.0, found.low),
        high=min(1.0, found.high),
        level=found.level,
        rows=count,
        trials=len(ranked),
    )
