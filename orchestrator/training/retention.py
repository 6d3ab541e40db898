"""What stays on disk: what running trials need, and the sweep's best adapters. Nothing else fills it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.trial import Report, TrialRecord, Verdict
from orchestrator.training.checkpoints import TrialFolder


def leaders(records: Iterable[TrialRecord], metric: Metric, k: int) -> tuple[TrialRecord, ...]:
    """Return the ``k`` best trials, ended or not, the best first and the earliest of equals first.

    A trial that still runs may lead: its best value can only get better, so whoever it displaces would not come back.
    """
    scored = [record for record in records if record.score(metric) is not None]
    return tuple(sorted(scored, key=lambda record: (metric.sort_key(record.score(metric)), record.number))[:k])


def kept(records: Iterable[TrialRecord], metric: Metric, k: int) -> set[tuple[int, int]]:
    """Return the checkpoints whose adapters stay, as ``(trial, nominal samples)``.

    A trial that has not ended keeps its best adapter and its newest one, also while it waits for a verdict, or has been
    stopped but not finished; an ended one keeps its best if it is one of the ``k`` leaders.
    """
    records = tuple(records)
    stay = {
        (record.number, report.nominal_samples)
        for record in records
        if not record.ended
        for report in (record.best(metric), *record.reports[-1:])
        if report is not None
    }
    for record in leaders(records, metric, k):
        best = record.best(metric)
        if best is not None:
            stay.add((record.number, best.nominal_samples))
    return stay


class Retention:
    """Observes a sweep and deletes what is no longer needed. It touches only trials that it has heard of."""

    def __init__(self, sweep_dir: Path, metric: Metric, keep: int, records: Iterable[TrialRecord] = ()) -> None:
        """Start from what an earlier driver left.

        Args:
            sweep_dir: the sweep's folder.
            metric: says which checkpoints are best.
            keep: how many of the best ended trials keep their adapter.
            records: the trials so far; ended ones compete with those to come.
        """
        self._sweep_dir = sweep_dir
        self._metric = metric
        self._keep = keep
        self._records: dict[int, TrialRecord] = {record.number: record for record in records}
        self._swept: dict[int, Sequence[int]] = {}
        self._sweep(self._records.values())

    def trial_started(self, trial: TrialRecord) -> None:
        """Remember the trial."""
        self._records[trial.number] = trial

    def reported(self, trial: TrialRecord, report: Report) -> None:  # noqa: ARG002  (the protocol's)
        """Delete what the trial's newest report made unnecessary."""
        self._records[trial.number] = trial
        self._sweep([trial])

    def decided(self, trial: TrialRecord, verdict: Verdict) -> None:  # noqa: ARG002  (the protocol's)
        """Remember the trial."""
        self._records[trial.number] = trial

    def trial_ended(self, trial: TrialRecord) -> None:
        """Delete all of the trial but its best adapter, and the adapters that are no longer among the best."""
        self._records[trial.number] = trial
        self._sweep(self._records.values())

    def _sweep(self, trials: Iterable[TrialRecord]) -> None:
        stay = kept(self._records.values(), self._metric, self._keep)
        for trial in trials:
            points = sorted(nominal for number, nominal in stay if number == trial.number)
            if trial.ended and self._swept.get(trial.number) == points:
                continue
            folder = TrialFolder(self._sweep_dir, trial.number)
            newest = trial.reports[-1].nominal_samples if trial.reports else None
            if trial.ended:
                for point in folder.points():
                    if point not in points:
                        folder.remove(point)
                folder.clear_scratch()
                folder.prune(dict.fromkeys(points, False))
                self._swept[trial.number] = points
            elif newest is not None:
                # A checkpoint beyond the newest committed report is the one that is about to be reported.
                listed = folder.points()
                ahead = {point: True for point in listed if point >= newest}
                folder.prune(dict.fromkeys(points, False) | ahead, listed)
