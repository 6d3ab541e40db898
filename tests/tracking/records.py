"""Sample sweeps and trials, and a sweep stored in a ledger of its own."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import delete, event, insert

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.facts import SweepFacts, facts_to_json
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Outcome, Report, TrialRecord, TrialState
from orchestrator.ledger import tables
from orchestrator.ledger.ledger import Ledger
from orchestrator.tracking.runs.description import DataInput, SweepDescription

ROOT = Path(__file__).parents[2]
ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
START = 1_700_000_000.0


def report(number: int, rung: int, accuracy: float, loss: float = 0.5) -> Report:
    ended = START + 100 * number + rung
    return Report(
        trial=number,
        nominal_samples=1000 * rung,
        metrics={
            "val/loss": loss,
            "val/accuracy": accuracy,
            "train/loss": loss - 0.1,
            "train/accuracy": accuracy + 0.05,
            "gap/loss": 0.1,
            "gap/accuracy": 0.05,
            "progress/samples": 1000.0 * rung,
        },
        checkpoint=f"trials/{number:04d}/checkpoint-{1000 * rung}",
        started_at=ended - 1,
        ended_at=ended,
    )


def trial(number: int, accuracies: tuple[float, ...], state: TrialState = TrialState.RUNNING) -> TrialRecord:
    """Return a trial with one report per value, ended with its last report unless ``state`` is RUNNING."""
    reports = tuple(report(number, rung, value) for rung, value in enumerate(accuracies, start=1))
    ended = state is not TrialState.RUNNING
    params = {"learning_rate": 1e-4 * (number + 1), "rank": 8}
    return TrialRecord(
        number=number,
        params=params,
        settings=TrialSettings.from_params(params | {"max_length": 32}),
        seed=number + 11,
        state=state,
        reason="reached its budget" if ended else None,
        reports=reports,
        started_at=START + 100 * number,
        ended_at=START + 100 * number + len(accuracies) + 1 if ended else None,
    )


def sweep(name: str = "films", generation: int = 1, status: SweepStatus = SweepStatus.RUNNING) -> SweepRecord:
    return SweepRecord(
        id=generation,
        name=name,
        generation=generation,
        status=status,
        fingerprint={"space": {"learning_rate": {}, "rank": {}}},
        spec_text=f"name: {name}\n",
        created_at=START + generation,
        facts=SweepFacts(baseline={"val/accuracy": 0.6}),
    )


def description(**changes: Any) -> SweepDescription:
    plain = SweepDescription(
        metric=ACCURACY,
        code_dir=ROOT,
        fixed={"alpha": 32.0, "target_modules": "all-linear"},
        params={"objective": "sentiment", "model": "tiny", "budget.trials": 12},
        data=(DataInput(name="rows", context="training", source="rows.csv", digest="d" * 64, rows=40),),
        notes="What it shows.",
    )
    return dataclasses.replace(plain, **changes)


class StoredSweep:
    """One sweep in an SQLite ledger of its own.

    Attributes:
        ledger: the ledger, in a temporary folder.
        id: the sweep's id.
        saves: cursors saved so far.
    """

    def __init__(self, record: SweepRecord, *trials: TrialRecord) -> None:
        self._folder = TemporaryDirectory(prefix="ledger-")
        self.ledger = Ledger.open(f"sqlite:///{self._folder.name}/ledger.db")
        self.id = record.id
        self.saves = 0
        values = {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
        values["facts"] = facts_to_json({"baseline": record.facts.baseline or {}})
        with self.ledger.database.write() as connection:
            connection.execute(insert(tables.sweeps).values(**values))
        self.put(*trials)
        event.listen(self.ledger.database.engine, "before_cursor_execute", self._count)

    @property
    def record(self) -> SweepRecord:
        """The sweep as it is stored now."""
        return self.ledger.sweeps.get(self.id)

    @property
    def experiment_id(self) -> str:
        """The id of the sweep's experiment, once it is written."""
        return _required(self.record.experiment_id)

    @property
    def run_id(self) -> str:
        """The id of the parent run, once it is written."""
        return _required(self.record.run_id)

    def run_of(self, number: int) -> str:
        """Return the id of a trial's run, once it is written."""
        return _required(self.records[number].run_id)

    @property
    def records(self) -> dict[int, TrialRecord]:
        """The trials as they are stored now, by number."""
        return {record.number: record for record in self.ledger.trials.all(self.id)}

    def put(self, *trials: TrialRecord) -> None:
        """Store trials; reports are added to the stored ones."""
        for trial in trials:
            self.ledger.trials.add(self.id, dataclasses.replace(trial, state=TrialState.RUNNING), trial.number)
            for item in trial.reports:
                self.ledger.trials.add_report(self.id, item)
            if trial.ended:
                outcome = Outcome(state=trial.state, reason=trial.reason or "")
                ended_at = trial.ended_at or 0.0
                self.ledger.trials.end(self.id, trial.number, outcome, final=trial.final, ended_at=ended_at)

    def forget_cursors(self, *numbers: int | None) -> None:
        """Remove the cursors of these runs; no number: of all."""
        query = delete(tables.cursors).where(tables.cursors.c.sweep_id == self.id)
        if numbers:
            query = query.where(tables.cursors.c.scope.in_([str(number) for number in numbers]))
        with self.ledger.database.write() as connection:
            connection.execute(query)

    def _count(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.saves += statement.startswith(("INSERT INTO loratory_cursors", "UPDATE loratory_cursors"))


def _required(value: str | None) -> str:
    assert value is not None
    return value
