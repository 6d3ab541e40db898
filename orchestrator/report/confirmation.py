"""The configurations trained again with fresh seeds: their results beside the result of the search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.trials.confirmed import Confirmed, confirmed
from orchestrator.core.trials.ranking import ranked_by_result
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.measurement_file import kept_measurement
from orchestrator.evaluation.scores.score_intervals import MetricInterval, seeds_interval
from orchestrator.report import words


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmedScore:
    """One configuration with fresh seeds.

    Attributes:
        trial: number of the search's trial with this configuration.
        trainings: numbers of the fresh trainings.
        failed: number of fresh trainings that failed.
        metric: name of the searched metric.
        searched: its value in the search, which chose the configuration.
        values: its value in each fresh training that did not fail.
        mean: mean of ``values``; None without one.
        folds: number of folds of the rows, if each training has another one; None: all have the sweep's splits.
        mean_low, mean_high: 95 % interval of ``mean`` over the folds; None without folds or 2 different values.
        test: mean of the metric over the fresh trainings on the test split; None if it was not measured.
        test_interval: interval of ``test`` with the noise of rows and seeds; None: unknown.
    """

    trial: int
    trainings: tuple[int, ...]
    failed: int
    metric: str
    searched: float | None
    values: tuple[float, ...]
    mean: float | None
    test: float | None
    test_interval: MetricInterval | None
    folds: int | None = None
    mean_low: float | None = None
    mean_high: float | None = None

    @property
    def sentence(self) -> str:
        """The scores in words, without a full stop."""
        count = len(self.trainings)
        seeds = f"trial {self.trial} with {count} fresh seed{'s' if count > 1 else ''}"
        if self.folds is not None:
            seeds = f"trial {self.trial} on {count} other fold{'s' if count > 1 else ''} of the rows"
        if self.failed:
            seeds += f", {self.failed} of them failed"
        if self.mean is None:
            return f"{seeds}: no result; the search measured {self.metric} {words.number(self.searched)}"
        each = ", ".join(words.number(value) for value in self.values)
        mean = words.number(self.mean)
        if self.mean_low is not None:
            mean += f" [{words.number(self.mean_low)}, {words.number(self.mean_high)}]"
        if len(self.values) > 1:
            mean += f" on average ({each})"
        sentence = f"{seeds}: {self.metric} {mean}; the search measured {words.number(self.searched)}"
        if self.test is None:
            return sentence
        name = f"test/{self.metric.rpartition('/')[2]}"
        noise = ", rows and seeds" if self.folds is None else ", rows, seeds and folds"
        sources = "" if self.test_interval is None else noise
        return f"{sentence}; {name} {words.with_interval(self.test, self.test_interval, 3)}{sources}"


def confirmation_scores(
    sweep_dir: Path,
    records: Sequence[TrialRecord],
    metric: Metric,
    training_rows: int | None,
    folds: int | None = None,
) -> tuple[ConfirmedScore, ...]:
    """Return the scores of the configurations with fresh seeds, in the order of the trials; empty without any.

    Args:
        sweep_dir: folder of the sweep, with the rows of the test split.
        records: the trials, in any order.
        metric: the searched metric.
        training_rows: number of the sweep's training rows; None: unknown.
        folds: number of folds of the rows (``data.folds``); None: there are none.
    """
    fresh = confirmed(records)
    return tuple(
        _score(sweep_dir, trial, fresh[trial.number], metric, training_rows, folds)
        for trial in ranked_by_result(records, metric)
        if trial.number in fresh
    )


def _score(
    sweep_dir: Path, trial: TrialRecord, fresh: Confirmed, metric: Metric, training_rows: int | None, folds: int | None
) -> ConfirmedScore:
    name = metric.name.rpartition("/")[2]
    measured = [kept_measurement(sweep_dir, training, metric) for training in fresh.whole]
    rows = [each.rows for each in measured if each is not None]
    tested = [training.final[f"test/{name}"] for training in fresh.whole if f"test/{name}" in training.final]
    own_rows = trial.training_rows(training_rows)
    limits = _limits(fresh.values(metric), folds)
    return ConfirmedScore(
        trial=trial.number,
        trainings=tuple(training.number for training in fresh.trainings),
        failed=fresh.failed,
        metric=metric.name,
        searched=trial.result(metric),
        values=fresh.values(metric),
        mean=fresh.mean(metric),
        test=sum(tested) / len(tested) if tested else None,
        test_interval=seeds_interval(name, rows, own_rows, folds) if len(rows) == len(tested) else None,
        folds=folds,
        mean_low=limits[0],
        mean_high=limits[1],
    )


def _limits(values: Sequence[float], folds: int | None) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of the mean over folds; None without folds, and without 2 different values."""
    if folds is None or len({*values}) < 2:
        return None, None
    import numpy as np  # status shows sweeps without folds, and starts faster without numpy

    from orchestrator.statistics.intervals import folds_interval

    interval = folds_interval(np.array(values), folds)
    return interval.low, interval.high
