"""Sweeps and trials made by hand, and the ledger's side of the tracker kept in memory."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.settings import TrialSettings
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.core.trial import Report, TrialRecord, TrialState
from orchestrator.tracking.description import DataInput, SweepDescription

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
    """A trial with one report per value; it ended with its last one unless it is running."""
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
        fingerprint={},
        spec_text=f"name: {name}\n",
        created_at=START + generation,
        facts={"versions": {"torch": "2.13.0"}, "baseline": {"val/accuracy": 0.6}},
    )


def description(**changes: Any) -> SweepDescription:
    plain = SweepDescription(
        metric=ACCURACY,
        fixed={"alpha": 32.0, "target_modules": "all-linear"},
        params={"objective": "sentiment", "model": "tiny", "budget.trials": 12},
        data=(DataInput(name="rows", context="training", source="rows.csv", digest="d" * 64, rows=40),),
        notes="What it shows.",
    )
    return dataclasses.replace(plain, **changes)


class MemoryStore:
    """The ledger's side: what the reconciler reads, and the cursors that it keeps."""

    def __init__(self, record: SweepRecord, *trials: TrialRecord) -> None:
        self.record = record
        self.records = {item.number: item for item in trials}
        self.cursors: dict[int | None, dict[str, Any]] = {}
        self.saves = 0

    def put(self, *trials: TrialRecord) -> None:
        self.records |= {item.number: item for item in trials}

    def set(self, **changes: Any) -> None:
        self.record = dataclasses.replace(self.record, **changes)

    def sweep(self) -> SweepRecord:
        return self.record

    def trials(self) -> tuple[TrialRecord, ...]:
        return tuple(self.records[number] for number in sorted(self.records))

    def cursor(self, number: int | None) -> dict[str, Any]:
        return copy.deepcopy(self.cursors.get(number, {}))

    def save_cursor(self, number: int | None, data: Mapping[str, Any]) -> None:
        self.cursors[number] = copy.deepcopy(dict(data))
        self.saves += 1

    def set_sweep_run(self, experiment_id: str, run_id: str) -> None:
        self.set(experiment_id=experiment_id, run_id=run_id)

    def set_trial_run(self, number: int, run_id: str) -> None:
        self.put(dataclasses.replace(self.records[number], run_id=run_id))
