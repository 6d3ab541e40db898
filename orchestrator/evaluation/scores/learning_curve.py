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

    from orchestrator.statistics.power_law import Forecast

FACTORS = (2.0, 4.0)
"""Forecasts are made for these multiples of the present training rows."""
SMALL = 0.05
"""A fall of the error by less than this share of the present error is a small gain."""
POINT = 0.01
"""The gain of accuracy or macro-F1 for which the number of rows is given; see ``wanted_gain``."""
FARTHEST = FACTORS[-1]
"""The largest multiple of the present rows that is given as an answer; the curve says nothing of more rows."""
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
class RowsNeeded:
    """The number of training rows for an improvement; None: more than ``FARTHEST`` times the present ones.

    Attributes:
        gain: the improvement.
        rows: number of training rows.
        low, high: limits of its 95 % interval.
    """

    gain: float
    rows: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecasts:
    """Answers for more rows.

    Attributes:
        answer: whether more rows would help.
        gains: for twice and four times the rows; empty if they cannot be estimated.
        needed: the rows for a small improvement; None if they cannot be estimated.
        missing: why they cannot be estimated; None if they can.
    """

    answer: MoreRows = MoreRows.UNKNOWN
    gains: tuple[Gain, ...] = ()
    needed: RowsNeeded | None = None
    missing: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve:
    """The learning curve of one configuration.

    Attributes:
        trial: number of the search's trial with this configuration.
        metric: name of the metric, on the test split.
        points: by ascending share.
        test_rows: number of rows of the test split.
        forecasts: what more rows would give.
    """

    trial: int
    metric: str
    points: tuple[CurvePoint, ...]
    test_rows: int
    forecasts: Forecasts


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
    return LearningCurve(
        trial=trial,
        metric=name,
        points=tuple(points),
        test_rows=next((len(each.rows.losses) for each in rows if each is not None), 0),
        forecasts=_forecasts(metric, train_rows_t, [each.rows for each in rows if each is not None]),
    )


def _forecasts(metric: Metric, train_rows: Sequence[int], rows: Sequence[RowMeasures]) -> Forecasts:
    """Return the answers, or why there are none."""
    name = metric.name.rpartition("/")[2]
    if name not in {"accuracy", "macro_f1", "loss"} or (name != "loss" and metric.direction is Direction.MINIMIZE):
        return Forecasts(missing=f"{name} has no errors by row; search.metric with accuracy, macro_f1 or loss has")
    if len(rows) < len(train_rows):
        return Forecasts(missing="test rows of some trainings are not stored")
    counts = [train_rows.count(each) for each in {*train_rows}]
    if len(counts) < 3 or min(counts) < 2:
        return Forecasts(missing="two trainings on each of three shares of the rows are needed")
    import numpy as np  # status shows sweeps without a learning curve, and starts faster without numpy

    from orchestrator.statistics.power_law import forecast

    generator = np.random.default_rng(0)
    errors_t, errors_dt = _errors(name, rows, generator)
    rows_t = np.array(train_rows, dtype=np.float64)
    found, present = forecast(rows_t, errors_t, errors_dt, generator), int(rows_t.max())
    gains = tuple(
        Gain(rows=round(factor * present), value=each.value, low=each.low, high=each.high)
        for factor, each in ((factor, found.gain(factor)) for factor in FACTORS)
    )
    error = float(errors_t[rows_t == present].mean())
    answer = MoreRows.HARDLY if gains[0].high < SMALL * error else MoreRows.UNKNOWN
    wanted = wanted_gain(name, error)
    return Forecasts(
        answer=MoreRows.HELP if gains[0].low > 0 else answer,
        gains=gains,
        needed=None if wanted <= 0 else _rows_needed(found, wanted),
    )


def wanted_gain(name: str, error: float) -> float:
    """Return the gain for which the number of rows is given.

    It is one point of accuracy or macro-F1. For a loss, and for an error below two points, it is 5 % of the error,
    rounded to one digit.
    """
    if name != "loss" and error >= 2 * POINT:
        return POINT
    return float(f"{SMALL * error:.0e}")


def _rows_needed(found: "Forecast", gain: float) -> RowsNeeded:
    needed = found.rows_for_gain(gain)
    rows, low, high = (
        None if each is None or each > FARTHEST * found.rows else math.ceil(each)
        for each in (needed.value, needed.low, needed.high)
    )
    return RowsNeeded(gain=gain, rows=rows, low=low, high=high)


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
