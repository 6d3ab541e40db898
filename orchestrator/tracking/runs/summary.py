"""The metrics of runs: the metrics of every report, and the summary at the best checkpoint so far. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core.metric import Metric
from orchestrator.core.names import mlflow_key
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.trials.ranking import ranked_by_result, score_key
from orchestrator.core.trials.trial import TrialRecord

OVERFIT_GAP = "overfit_gap_at_best"
"""Summary name of ``gap/loss``."""
A_MOMENT_S = 0.001
"""Added to the time of a replacing value, in seconds: MLflow shows the newest value of a step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One value of one metric: ``step`` in training samples (trials) or ended trials (the sweep)."""

    name: str
    value: float
    step: int
    timestamp_ms: int


def milliseconds(seconds: float) -> int:
    """Return a time in whole milliseconds, as in MLflow."""
    return round(seconds * 1000)


def summary(samples: int, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the summary metrics of a trial, given the metrics of its best checkpoint after ``samples``.

    All values belong to this one checkpoint: with another searched metric ``best_val_loss`` may be above the smallest
    loss of the curve.
    """
    values = {"samples_at_best": float(samples)}
    for name, value in metrics.items():
        kind, _, rest = name.partition("/")
        if kind == "val":
            values[f"best_val_{rest}"] = value
        elif kind == "train":
            values[f"train_{rest}_at_best"] = value
        elif kind == "gap":
            values[OVERFIT_GAP if rest == "loss" else f"{rest}_gap_at_best"] = value
    return values


def trial_points(trial: TrialRecord, metric: Metric, after: int) -> list[Point]:
    """Return the points of a trial's run: reports beyond ``after`` samples, and final metrics.

    Times come from the records, so writing a point twice changes nothing.
    """
    points: list[Point] = []
    for report in trial.reports:
        if report.nominal_samples > after:
            best = trial.best(metric, until=report.nominal_samples)
            values = dict(report.metrics) | ({} if best is None else summary(best.nominal_samples, best.metrics))
            points += _points(values, report.nominal_samples, report.ended_at)
    best = trial.best(metric)
    if best is not None:
        points += _points(trial.measured_last, best.nominal_samples, best.ended_at)
        if len(trial.measured_last) < len(trial.final):
            last = trial.reports[-1]
            measured = summary(best.nominal_samples, trial.at_best(metric))
            points += _points(measured, last.nominal_samples, last.ended_at + A_MOMENT_S)
    return points


def ended(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the ended trials in the order of their ends."""
    return sorted((trial for trial in trials if trial.ended), key=lambda trial: (trial.ended_at or 0.0, trial.number))


def sweep_points(trials: Sequence[TrialRecord], metric: Metric, after: int) -> list[Point]:
    """Return the points of the parent run: the best trial so far, at each trial's end beyond the first ``after``."""
    points: list[Point] = []
    best: TrialRecord | None = None
    done, key = ended(trials), score_key(metric)
    for count, trial in enumerate(done, start=1):
        if trial.best(metric) is not None and trial.confirms is None:
            best = trial if best is None else min(best, trial, key=key)
        if best is not None and count > after and (report := best.best(metric)) is not None:
            points += _points(summary(report.nominal_samples, report.metrics), count, trial.ended_at or 0.0)
    winner = next(iter(ranked_by_result(done, metric)), None)
    report = None if winner is None else winner.best(metric)
    if winner is not None and report is not None and winner.final:
        values = summary(report.nominal_samples, winner.at_best(metric))
        points += _points({**values, **winner.measured_last}, len(done), (done[-1].ended_at or 0.0) + A_MOMENT_S)
    return points


def fact_points(facts: SweepFacts, step: int, seconds: float) -> list[Point]:
    """Return the points of a sweep's facts: the baseline and the importances."""
    # A baseline's name has no slash: otherwise its chart of one point would be the first of the page.
    values = {f"baseline_{name.replace('/', '_')}": value for name, value in (facts.baseline or {}).items()}
    values |= {f"importance/{name}": share for name, share in facts.importances.items()}
    return _points(values, step, seconds)


def _points(values: Mapping[str, float], step: int, seconds: float) -> list[Point]:
    return [
        Point(name=mlflow_key(name), value=float(value), step=step, timestamp_ms=milliseconds(seconds))
        for name, value in values.items()
    ]
