"""The trial table of a stored sweep."""

from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.system.secrets import redact
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.replay.table import TableReport, TableTrial, TrialTable
from orchestrator.report.leaderboard import metric_of
from orchestrator.spec.document.overrides import with_start_points
from orchestrator.training.checkpoints.recorded_test import read_recorded_test
from orchestrator.training.checkpoints.trial_folder import TrialFolder


def table_of(ledger: Ledger, sweep: SweepRecord) -> TrialTable:
    """Return the table of a sweep's trials, ended or not, without the trainings with fresh seeds.

    The test rows come from the trials' folders, and exist in sweeps with ``tracking.record``. Without a record the test
    metrics are those of the ledger, which has them for kept adapters. The start points of the sweep's prior are in the
    table's sweep file, so a replay has them too.
    """
    trials = of_the_search(ledger.trials.all(sweep.id))
    plan = sweep.facts.engine_plan
    text = with_start_points(sweep.spec_text, sweep.fingerprint.get("prior", ()))
    reported = {report.nominal_samples for trial in trials for report in trial.reports}
    return TrialTable(
        name=sweep.name,
        metric=metric_of(sweep),
        spec_text=redact(text),  # ledgers of earlier versions may hold addresses with passwords
        points=tuple(sorted(reported)) if plan is None else plan.report_points,
        trials=tuple(_trial(sweep, trial) for trial in trials),
    )


def _trial(sweep: SweepRecord, trial: TrialRecord) -> TableTrial:
    best = trial.best(metric_of(sweep))
    folder = TrialFolder(sweep_dir(sweep), trial.number, owner=Owner(sweep=sweep.key, task=trial.task))
    recorded = read_recorded_test(folder, best.nominal_samples) if best is not None and trial.ended else None
    measured = {name.removeprefix("test/"): x for name, x in trial.final.items() if name.startswith("test/")}
    return TableTrial(
        number=trial.number,
        sweep=sweep.reference,
        params=dict(trial.params),
        settings=trial.settings,
        seed=trial.seed,
        state=trial.state,
        reason=None if trial.reason is None else redact(trial.reason),
        reports=tuple(
            TableReport(
                samples=report.nominal_samples,
                metrics=dict(report.metrics),
                seconds=report.ended_at - report.started_at,
            )
            for report in trial.reports
        ),
        final=dict(trial.final),
        test=measured if recorded is None else dict(recorded.metrics),
        test_rows=None if recorded is None else recorded.rows,
    )
