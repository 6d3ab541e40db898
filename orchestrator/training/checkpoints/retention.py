"""Delete checkpoints not needed by running trials or by the best trials of a sweep."""

from collections.abc import Iterable
from pathlib import Path

from typing_extensions import override

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.ranking import ranked_by_score
from orchestrator.core.trials.trial import Decision, Report, TrialRecord
from orchestrator.training.checkpoints.trial_folder import TrialFolder


def adapters_to_keep(record: TrialRecord, metric: Metric, *, leads: bool) -> set[int]:
    """Return the nominal samples of the adapters to keep.

    A trial without an outcome keeps its best and its newest adapter. An ended trial keeps its best adapter if it
    ``leads``.
    """
    best = record.best(metric) if leads or not record.ended else None
    newest = () if record.ended else record.reports[-1:]
    return {report.nominal_samples for report in (best, *newest) if report is not None}


class Retention(SweepObserver):
    """Observes a sweep, and deletes checkpoints of its known trials when they are no longer needed.

    Trainings after the search keep their best adapter: it is measured on the test split. Those of the learning curve
    lose it then.

    The leaders are updated trial by trial: only a changed trial can join them. With one metric a displaced trial never
    returns. With several a later checkpoint of a running trial may dominate no longer, so only ended trials lead.
    The cost of an event does not depend on the number of trials.
    """

    def __init__(self, sweep_dir: Path, metric: Metric, keep: int, records: Iterable[TrialRecord] = ()) -> None:
        """Delete the unneeded checkpoints of an earlier driver.

        Args:
            sweep_dir: folder of the sweep.
            metric: decides which checkpoints are best.
            keep: number of ended trials with an adapter.
            records: the trials so far; ended trials compete with later ones.
        """
        self._sweep_dir = sweep_dir
        self._metric = metric
        self._keep = keep
        records = tuple(records)
        ranked = ranked_by_score(filter(self._may_lead, records), metric)
        self._leaders = {leader.number: leader for leader in ranked[:keep]}
        for record in records:
            self._clear(record)

    def prepared(self, plan: EnginePlan) -> None:
        """Do nothing: no trial has started."""

    def trial_started(self, trial: TrialRecord) -> None:
        """Do nothing: a trial without a report needs all its files."""

    @override
    def reported(self, trial: TrialRecord, report: Report) -> None:
        """Delete the checkpoints made unnecessary by the newest report of the trial."""
        self._take(trial)

    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        """Do nothing: a stopped trial is still measured."""

    def trial_ended(self, trial: TrialRecord) -> None:
        """Delete the files of the trial; keep its best adapter if the trial leads."""
        self._take(trial)

    def _take(self, trial: TrialRecord) -> None:
        """Rank the trial; delete the unneeded files of the trial and of a displaced one."""
        before = self._leaders
        changed = {trial.number: trial} if self._may_lead(trial) else {}
        ranked = ranked_by_score((before | changed).values(), self._metric)[: self._keep]
        self._leaders = {leader.number: leader for leader in ranked}
        self._clear(trial)
        for number in before.keys() - self._leaders.keys() - {trial.number}:
            if before[number].ended:  # the files of a running trial do not depend on its rank
                self._clear(before[number])

    def _may_lead(self, trial: TrialRecord) -> bool:
        return trial.ended or len(self._metric.metrics) == 1

    def _clear(self, trial: TrialRecord) -> None:
        """Delete the unneeded files of a trial."""
        measured = trial.share is not None and any(name.startswith("test/") for name in trial.final)
        needed = trial.confirms is not None and not measured
        stay = adapters_to_keep(trial, self._metric, leads=needed or trial.number in self._leaders)
        folder = TrialFolder(self._sweep_dir, trial.number)
        if trial.ended:
            for point in folder.points():
                if point not in stay:
                    folder.remove(point)
            folder.clear_scratch()
            folder.prune(dict.fromkeys(stay, False))
        elif trial.reports:
            # A checkpoint after the newest committed report is about to be reported. The checkpoint before the newest
            # keeps its state too: training resumes from it if the newest is damaged.
            listed, since = folder.points(), trial.reports[-2:][0].nominal_samples
            whole = {point: True for point in listed if point >= since}
            folder.prune(dict.fromkeys(stay, False) | whole, listed)
