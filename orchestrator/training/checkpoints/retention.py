"""What stays on disk: what running trials need, and the sweep's best adapters. Nothing else fills it."""

from collections.abc import Iterable
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.plan import EnginePlan
from orchestrator.core.ranking import ranked_by_score
from orchestrator.core.trial import Decision, Report, TrialRecord
from orchestrator.training.checkpoints.trial_folder import TrialFolder


def kept(record: TrialRecord, metric: Metric, *, leads: bool) -> set[int]:
    """Return at which nominal samples a trial's adapter stays.

    A trial that has not ended keeps its best adapter and its newest one, also while it waits for a decision, or was
    stopped but not finished; an ended one keeps its best if it ``leads``.
    """
    best = record.best(metric) if leads or not record.ended else None
    newest = () if record.ended else record.reports[-1:]
    return {report.nominal_samples for report in (best, *newest) if report is not None}


class Retention:
    """Observes a sweep and deletes what is no longer needed. It touches only trials that it has heard of.

    Who leads is kept up trial by trial: only the trial that changed can join the leaders, and who leaves them does not
    come back. So an event costs the same however many trials there have been.
    """

    def __init__(self, sweep_dir: Path, metric: Metric, keep: int, records: Iterable[TrialRecord] = ()) -> None:
        """Start from what an earlier driver left.

        Args:
            sweep_dir: the sweep's folder.
            metric: says which checkpoints are best.
            keep: how many of the best trials keep their adapter after they have ended.
            records: the trials so far; ended ones compete with those to come.
        """
        self._sweep_dir = sweep_dir
        self._metric = metric
        self._keep = keep
        records = tuple(records)
        self._leaders = {leader.number: leader for leader in ranked_by_score(records, metric)[:keep]}
        for record in records:
            self._clear(record)

    def prepared(self, plan: EnginePlan) -> None:
        """Nothing to do: no trial has begun."""

    def trial_started(self, trial: TrialRecord) -> None:
        """Nothing to do: a trial that has not reported leads nobody, and what it has on disk it needs."""

    def reported(self, trial: TrialRecord, report: Report) -> None:  # noqa: ARG002  (the protocol's)
        """Delete what the trial's newest report made unnecessary, its own and others'."""
        self._take(trial)

    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        """Nothing to do: a trial that is told to stop is still to be measured."""

    def trial_ended(self, trial: TrialRecord) -> None:
        """Delete all of the trial but its best adapter, and that too if it is not among the best."""
        self._take(trial)

    def _take(self, trial: TrialRecord) -> None:
        """Rank the trial anew; clear it, and whom it displaced."""
        before = self._leaders
        ranked = ranked_by_score((before | {trial.number: trial}).values(), self._metric)[: self._keep]
        self._leaders = {leader.number: leader for leader in ranked}
        self._clear(trial)
        for number in before.keys() - self._leaders.keys() - {trial.number}:
            if before[number].ended:  # what a running one keeps does not depend on its place
                self._clear(before[number])

    def _clear(self, trial: TrialRecord) -> None:
        """Delete what nobody needs of a trial."""
        stay = kept(trial, self._metric, leads=trial.number in self._leaders)
        folder = TrialFolder(self._sweep_dir, trial.number)
        if trial.ended:
            for point in folder.points():
                if point not in stay:
                    folder.remove(point)
            folder.clear_scratch()
            folder.prune(dict.fromkeys(stay, False))
        elif trial.reports:
            # A checkpoint beyond the newest committed report is the one that is about to be reported. The one before
            # the newest stays whole too: training goes on from it if the newest is damaged.
            listed, since = folder.points(), trial.reports[-2:][0].nominal_samples
            whole = {point: True for point in listed if point >= since}
            folder.prune(dict.fromkeys(stay, False) | whole, listed)
