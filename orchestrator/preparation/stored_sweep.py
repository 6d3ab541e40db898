"""A stored sweep for promotion and export: its adapters, its trials, and the training of a dropped adapter.

Everything comes from the ledger. So it works after the sweep file has changed or is gone.
"""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.core.errors import DataError, UserError
from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Splits
from orchestrator.preparation.description import adapters_of, function_models
from orchestrator.promotion.candidates import Candidates
from orchestrator.report.leaderboard import metric_of
from orchestrator.spec.policy import stored_gates
from orchestrator.tracking.location import Location


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSweep:
    """One stored sweep with its trials, the location of its runs and models, and its ledger."""

    sweep: SweepRecord
    records: tuple[TrialRecord, ...]
    location: Location
    ledger: Ledger

    @property
    def metric(self) -> Metric:
        """The searched metric."""
        return metric_of(self.sweep)

    def candidates(self) -> Candidates:
        """Return the candidates for promotion and export.

        Raises:
            AssetError: the base model is not available.
        """
        plan = self.engine_plan(sweep_dir(self.sweep))
        if plan.function is not None:
            adapters = function_models(plan, plan.function, self.metric)
        else:
            objective = load_objective(plan.objective, plan.data.classes, plan.data.chat_template, plan.data.prompt)
            adapters = adapters_of(plan, objective, self.metric, self.sweep.facts.data_summary)
        return Candidates(self.sweep, self.records, adapters, self.location)

    def gates(self) -> Gates:
        """Return the gates of the sweep file, as it was in the last run."""
        return stored_gates(self.sweep.spec_text)

    def read_splits(self) -> Splits:
        """Read the rows of the sweep again.

        Raises:
            AssetError: the data is not available.
            DataError: the data breaks a rule, or a function reads it.
        """
        plan = self.engine_plan(sweep_dir(self.sweep))
        if plan.function is not None:
            raise DataError("a function reads its rows itself")
        return load_objective(plan.objective, plan.data.classes, plan.data.chat_template, plan.data.prompt).splits(
            plan.data
        )

    def engine_plan(self, folder: Path) -> EnginePlan:
        """Return the plan of the sweep's last engines, with ``folder`` for their checkpoints.

        Raises:
            UserError: the ledger holds no plan of this version's form.
        """
        plan = self.sweep.facts.engine_plan
        if plan is None:
            raise UserError(
                f"{self.sweep.reference} has no stored engine plan that this version can read; run the sweep again"
            )
        return replace(plan, sweep_dir=str(folder))

    def retrain(self, trial: TrialRecord) -> Path:
        """Train a trial again to its best report, with its configuration and seed; return the folder of its adapter."""
        from orchestrator.training.build import build_engine

        best = trial.best(self.metric)
        assert best is not None  # only trials with a score are chosen
        plan = self.engine_plan(sweep_dir(self.sweep) / "retrained")
        with closing(build_engine(plan)) as engine, closing(engine.start(trial.task)) as run:
            for samples in plan.timetable.of(trial.settings):
                report = run.advance(samples)
                if samples >= best.nominal_samples:
                    break
        assert report.checkpoint is not None
        return Path(plan.sweep_dir) / str(report.checkpoint) / "adapter"
