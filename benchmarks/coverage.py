"""The intervals of one sweep whose truth is known: the naive ones beside those of the product."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.intervals import Interval, wilson_interval
from orchestrator.statistics.noise import SeedNoise, accuracy_score, prior_noise
from orchestrator.statistics.selection import WinnerScore, covariance_with_winner, share_variance, winner_score

BoolArray: TypeAlias = NDArray[np.bool_]
Covered: TypeAlias = tuple[str, Interval, float]
"""The name of an interval, the interval, and the truth that it must cover."""


def sweep_intervals(
    validation_kn: BoolArray, tested_sn: BoolArray, seed_sd: float, truth: float, adapter: float
) -> list[Covered]:
    """Return the intervals of a sweep's winner.

    Args:
        validation_kn: right and wrong validation rows of each trial; the best one is the winner.
        tested_sn: right and wrong test rows of the winner's adapter, then of fresh seeds of its configuration.
        seed_sd: assumed standard deviation of an accuracy between seeds.
        truth: true accuracy of the winner's configuration.
        adapter: true accuracy of the winner's adapter.
    """
    winner, rows = int(np.argmax(validation_kn.mean(axis=1))), validation_kn.shape[1]
    prior = prior_noise(seed_sd, "assumed")
    first, fresh = tested_sn[:1], tested_sn[1:]
    alone = accuracy_score(first, prior)
    own_seed = np.where(np.arange(len(validation_kn)) == winner, seed_sd**2, 0.0)
    corrected = winner_score(
        validation_kn.mean(axis=1),
        own_seed,
        score=alone.rows.value,
        variance=share_variance(tested_sn.shape[1], seed_sd**2),
        step=1 / rows,
    )
    where = "validation, winner chosen there:"
    return [
        (f"{where} rows alone (naive)", wilson_interval(int(validation_kn[winner].sum()), rows), truth),
        (f"{where} rows and seeds", accuracy_score(validation_kn[winner : winner + 1], prior).total, truth),
        (f"{where} corrected (ours)", _corrected(validation_kn, seed_sd).corrected, truth),
        ("test, the winner's adapter: rows alone (ours)", alone.rows, adapter),
        ("test, the winner's configuration: rows alone (naive)", alone.rows, truth),
        ("test, the winner's configuration: rows and seeds", alone.total, truth),
        ("test, the winner's configuration: corrected (ours)", corrected.corrected, truth),
        *_fresh(fresh, prior, truth),
    ]


def corrected_value(validation_kn: BoolArray, seed_sd: float) -> float:
    """Return the median-unbiased accuracy of the winner."""
    return _corrected(validation_kn, seed_sd).corrected.value


def _corrected(validation_kn: BoolArray, seed_sd: float) -> WinnerScore:
    scores, rows = validation_kn.mean(axis=1), validation_kn.shape[1]
    covariance = covariance_with_winner(validation_kn.astype(float), int(np.argmax(scores)), seed_sd**2)
    return winner_score(scores, covariance, variance=share_variance(rows, seed_sd**2), step=1 / rows)


def _fresh(fresh: BoolArray, prior: SeedNoise, truth: float) -> list[Covered]:
    """Return the intervals of a confirmation with fresh seeds."""
    if len(fresh) < 2:
        return []
    where, measured = f"test, {len(fresh)} fresh seeds:", accuracy_score(fresh)
    return [
        (f"{where} rows alone (naive)", measured.rows, truth),
        (f"{where} rows and measured seed noise", measured.total, truth),
        (f"{where} rows and known seed noise (ours)", accuracy_score(fresh, prior).total, truth),
    ]


def share(successes: int, tries: int) -> str:
    """Return a share with its binomial interval, as text."""
    interval = wilson_interval(successes, tries)
    return f"{interval.value:6.1%} ({interval.low:.1%} to {interval.high:.1%})"
