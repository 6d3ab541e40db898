"""A stored sweep as promotion and export need it: its adapters, its trials, and the way to train one again.

Everything comes from the ledger, so that it works after the sweep file has changed or gone.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.stores import find_sweep, tracking_of
from orchestrator.core.metric import Metric
from orchestrator.core.plan import EnginePlan
from orchestrator.core.sweep import SweepRecord
from orchestrator.core.trial import TrialRecord
from orchestrator.ledger.home import sweep_dir
from orchestrator.report.leaderboard import metric_of

if TYPE_CHECKING:
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.promotion.candidates import Candidates
    from orchestrator.tracking.location import Location


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One stored sweep with its trials."""

    ledger: "Ledger"
    sweep: SweepRecord
    records: tuple[TrialRecord, ...]
    metric: Metric
    location: "Location"

    @classmethod
    def find(cls, name: str) -> "Stored":
        """Return the sweep that ``NAME`` or ``NAME#2`` names; raises ``UserError`` if there is none."""
        from orchestrator.tracking.location import locate

        ledger, sweep = find_sweep(name)
        return cls(
            ledger=ledger,
            sweep=sweep,
            records=ledger.trials.all(sweep.id),
            metric=metric_of(sweep),
            location=locate(tracking_of(sweep)),
        )

    def candidates(self) -> "Candidates":
        """Return the trials that can be promoted or exported."""
        from orchestrator.objective.loading import load_objective
        from orchestrator.planning import adapters_of
        from orchestrator.promotion.candidates import Candidates

        plan = self.engine_plan(sweep_dir(self.sweep))
        adapters = adapters_of(plan, load_objective(plan.objective), self.metric, self.sweep.facts)
        return Candidates(self.sweep, self.records, adapters, self.location)

    def engine_plan(self, folder: Path) -> EnginePlan:
        """Return what the sweep's engines were built from last, with another folder for their checkpoints."""
        from pydantic import TypeAdapter

        stored = self.sweep.facts["engine"]
        stored = {**stored, "data": {"split_rule": 1, **stored["data"]}}  # from when there was one rule
        return replace(TypeAdapter(EnginePlan).validate_python(stored), sweep_dir=str(folder))

    def retrain(self, trial: TrialRecord) -> Path:
        """Train a trial again up to its best report, with its own settings and seed; return the adapter's folder."""
        from contextlib import closing

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
