"""The learning curve of the winner's configuration over training rows: would more rows help, and how many?"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.evaluation.measurement_file import kept_measurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FACTORS = (2.0, 4.0)
"""Forecasts are made for these multiples of the present training rows."""
SMALL = 0.05
"""A fall of the error by less than this share of the present error is a small gain."""
_DRAWS = 2000


class MoreRows(enum.StrEnum):
    """Whether more training rows would help."""

    HELP = "help"
    HARDLY = "hardly"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """The trainings on one share of the rows.

    Attributes:
        share: share of the configuration's training rows.
        rows: number of training rows.
        values: the metric on the test split, by training.
    """

    share: float
    rows: int
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return fmean(self.values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """The expected improvement of the metric by more rows.

    Attributes:
        rows: number of training rows.
        value: the improvement, positive for a better value.
        low, high: limits of its 95 % interval.
    """

    rows: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve:
    """The learning curve of one configuration.

    Attributes:
        trial: number of the search's trial with this configuration.
        metric: name of the metric, on the test split.
        points: by ascending share.
        test_rows: number of rows of the test split.
        answer: whether more rows would help.
        gains: for twice and four times the rows; empty if they cannot be estimated.
        missing: why they cannot be estimated; None if they can.
    """

    trial: int
    metric: str
    points: tuple[CurvePoint, ...]
    test_rows: int
    answer: MoreRows
    gains: tuple[Gain, ...] = ()
    missing: str | None = None


def learning_curve(
    sweep_dir: Path, records: Sequence[TrialRecord], metric: Metric, train_rows: int
) -> LearningCurve | None:
    """Return the learning curve of a sweep; None without trainings for one that are measured on the test split.

    A power law is fitted to the error, which is the loss, or 1 less accuracy or macro-F1. The intervals hold the noise
    of the test rows, the seeds and the choice of the rows.

    Args:
        sweep_dir: folder of the sweep, with the rows of the test split.
        records: the trials, in any order.
        metric: the searched metric.
        train_rows: number of rows of the training split.
    """
    name = f"test/{metric.name.rpartition('/')[2]}"
    trainings = [each for each in records if each.share is not None and each.state is not TrialState.FAIL]
    measured = [each for each in trainings if name in each.final]
    if not measured:
        return None
    trial = max(measured, key=lambda each: each.number).confirms  # a longer search may have had another winner before
    assert trial is not None, "a point of a curve names its trial"
    measured = sorted((each for each in measured if each.confirms == trial), key=lambda each: each.number)
    points = []
    for share in sorted({each.share for each in measured if each.share is not None}):
        own = [each for each in measured if each.share == share]
        used = math.ceil(own[0].settings.train_fraction * train_rows)
        values = tuple(each.final[name] for each in own)
        points.append(CurvePoint(share=share, rows=math.ceil(share * used), values=values))
    rows = [kept_measurement(sweep_dir, each, metric) for each in measured]
    sizes = {point.share: point.rows for point in points}
    train_rows_t = [sizes[each.share] for each in measured if each.share is not None]
    gains, answer, missing = _forecast(metric, train_rows_t, [each.rows for each in rows if each is not None])
    return LearningCurve(
        trial=trial,
        metric=name,
        points=tuple(points),
        test_rows=next((len(each.rows.losses) for each in rows if each is not None), 0),
        answer=answer,
        gains=gains,
        missing=missing,
    )


def _forecast(
    metric: Metric, train_rows: Sequence[int], rows: Sequence[RowMeasures]
) -> tuple[tuple[Gain, ...], MoreRows, str | None]:
    """Return the gains, the answer, and why there are no gains."""
    name = metric.name.rpartition("/")[2]
    if name not in {"accuracy", "macro_f1", "loss"} or (name != "loss" and metric.direction is Direction.MINIMIZE):
        return (), MoreRows.UNKNOWN, f"{name} has no errors by row; search.metric with accuracy, macro_f1 or loss has"
    if len(rows) < len(train_rows):
        return (), MoreRows.UNKNOWN, "test rows of some trainings are not stored"
    counts = [train_rows.count(each) for each in {*train_rows}]
    if len(counts) < 3 or min(counts) < 2:
        return (), MoreRows.UNKNOWN, "two trainings on each of three shares of the rows are needed"
    import numpy as np  # status shows sweeps without a learning curve, and starts faster without numpy

    from orchestrator.statistics.power_law import forecast_gains

    generator = np.random.default_rng(0)
    errors_t, errors_dt = _errors(name, rows, generator)
    rows_t = np.array(train_rows, dtype=np.float64)
    present = int(rows_t.max())
    found = forecast_gains(rows_t, errors_t, errors_dt, FACTORS, generator)
    gains = tuple(
        Gain(rows=round(factor * present), value=each.value, low=each.low, high=each.high)
        for factor, each in zip(FACTORS, found, strict=True)
    )
    small = SMALL * float(errors_t[rows_t == present].mean())
    if gains[0].low > 0:
        return gains, MoreRows.HELP, None
    return gains, MoreRows.HARDLY if gains[0].high < small else MoreRows.UNKNOWN, None


def _errors(
    name: str, rows: Sequence[RowMeasures], generator: "np.random.Generator"
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return the error of each training (t), and those on resampled test rows (d, t)."""
    import numpy as np

    from orchestrator.statistics.resampling import row_draws
    from orchestrator.statistics.row_metrics import macro_f1

    references_n, ones_n = np.array(rows[0].references), np.ones(len(rows[0].losses), dtype=np.int64)
    predictions_tn = np.array([each.predictions for each in rows])
    losses_nt, units_n = np.array([each.losses for each in rows]).T, np.array(rows[0].units)

    def errors(counts_dn: "NDArray[np.int64]") -> "NDArray[np.float64]":
        if name == "loss":
            found = counts_dn @ losses_nt / (counts_dn @ units_n)[:, None]
        elif name == "accuracy":
            found = counts_dn @ (predictions_tn != references_n).T / counts_dn.sum(axis=1)[:, None]
        else:
            found = np.stack([1 - macro_f1(counts_dn, each, references_n) for each in predictions_tn], axis=1)
        return np.asarray(found, dtype=np.float64)

    return errors(ones_n[None, :])[0], row_draws(errors, ones_n, generator, _DRAWS)
