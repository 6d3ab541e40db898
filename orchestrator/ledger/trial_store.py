"""The trials of the ledger, their reports and the decisions on them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from orchestrator.core.errors import LedgerError
from orchestrator.core.system.secrets import redact
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Action, Decision, Outcome, Report, TrialRecord, TrialState
from orchestrator.ledger.connection import retry_on_disconnect
from orchestrator.ledger.database import Database
from orchestrator.ledger.driver_store import DriverStore
from orchestrator.ledger.tables import decisions, reports, trials

MOST_NUMBERS = 500
"""Most trials named in one query; if more have changed, all are read."""

Mark: TypeAlias = tuple[Any, ...]
"""Differs if and only if a trial has changed; only to be compared."""


class TrialStore:
    """Trials by sweep and number. Every method is one transaction."""

    def __init__(self, database: Database, drivers: DriverStore) -> None:
        self._database = database
        self._drivers = drivers

    def all(self, sweep_id: int) -> tuple[TrialRecord, ...]:
        """Return all trials of a sweep by ascending number, with reports, decisions and final metrics."""
        with self._database.read() as connection:
            return _records(connection, sweep_id)

    def changed(self, sweep_id: int, seen: Mapping[int, Mark]) -> dict[int, tuple[Mark, TrialRecord]]:
        """Return the new and changed trials by ascending number, each with its mark.

        A repeated reader keeps the marks: comparing them is much faster than reading every record.

        Args:
            sweep_id: the sweep.
            seen: the marks returned before, by trial number; empty: every trial is new.
        """
        with self._database.read() as connection:
            marks = {row[0]: tuple(row) for row in connection.execute(_marks(sweep_id))}
            changed = [number for number, mark in marks.items() if seen.get(number) != mark]
            records = _records(connection, sweep_id, changed if len(changed) <= MOST_NUMBERS else None)
        return {record.number: (marks[record.number], record) for record in records}

    def get(self, sweep_id: int, number: int) -> TrialRecord:
        """Return one trial.

        Raises:
            LedgerError: the sweep has no such trial.
        """
        with self._database.read() as connection:
            records = _records(connection, sweep_id, [number])
        if not records:
            raise LedgerError(f"the sweep has no trial {number}")
        return records[0]

    def study_numbers(self, sweep_id: int) -> dict[int, int]:
        """Return the number in the Optuna study of each trial of the search, by trial number."""
        query = select(trials.c.number, trials.c.study_number).where(
            trials.c.sweep_id == sweep_id, trials.c.confirms.is_(None)
        )
        with self._database.read() as connection:
            return {row.number: row.study_number for row in connection.execute(query)}

    @retry_on_disconnect
    def add(self, sweep_id: int, record: TrialRecord, study_number: int | None) -> None:
        """Open a trial; do nothing if it is already open under the same study number.

        Args:
            sweep_id: the sweep.
            record: the trial.
            study_number: its number in the Optuna study; None: it is not in the study.
        """
        if study_number is None:
            study_number = -1 - record.number  # the column is unique, and not null since version 1
        key = (trials.c.number == record.number) & (trials.c.study_number == study_number)
        with self._drivers.write_sweep(sweep_id) as connection:
            if connection.execute(select(trials.c.number).where(trials.c.sweep_id == sweep_id, key)).first():
                return
            connection.execute(
                insert(trials).values(
                    sweep_id=sweep_id,
                    number=record.number,
                    study_number=study_number,
                    params=record.params,
                    settings=record.settings.to_json(),
                    seed=record.seed,
                    state=record.state,
                    final=record.final,
                    started_at=record.started_at,
                    confirms=record.confirms,
                    fold=record.fold,
                    share=record.share,
                    origin=record.origin,
                )
            )

    @retry_on_disconnect
    def add_report(self, sweep_id: int, report: Report) -> bool:
        """Commit a report. Return False, and change nothing, if the trial already has a report at this point."""
        key = (reports.c.trial == report.trial) & (reports.c.nominal_samples == report.nominal_samples)
        with self._drivers.write_sweep(sweep_id) as connection:
            if connection.execute(select(reports.c.trial).where(reports.c.sweep_id == sweep_id, key)).first():
                return False
            connection.execute(insert(reports).values(sweep_id=sweep_id, **asdict(report)))
        return True

    @retry_on_disconnect
    def add_decisions(self, sweep_id: int, new_decisions: Sequence[Decision]) -> None:
        """Commit decisions, all or none; decisions committed before are skipped."""
        rows = [
            {
                "sweep_id": sweep_id,
                "trial": decision.trial,
                "nominal_samples": decision.nominal_samples,
                "action": decision.action,
                "state": decision.outcome.state if decision.outcome else None,
                "reason": redact(decision.outcome.reason) if decision.outcome else None,
            }
            for decision in new_decisions
        ]
        stored = select(decisions.c.trial, decisions.c.nominal_samples).where(
            decisions.c.sweep_id == sweep_id, decisions.c.trial.in_({decision.trial for decision in new_decisions})
        )
        with self._drivers.write_sweep(sweep_id) as connection:
            known = {(row.trial, row.nominal_samples) for row in connection.execute(stored)}
            new = [row for row in rows if (row["trial"], row["nominal_samples"]) not in known]
            if new:
                connection.execute(insert(decisions), new)

    @retry_on_disconnect
    def end(self, sweep_id: int, number: int, outcome: Outcome, *, final: Mapping[str, float], ended_at: float) -> None:
        """Give a trial its final state."""
        values = {"state": outcome.state, "reason": redact(outcome.reason), "final": final, "ended_at": ended_at}
        with self._drivers.write_sweep(sweep_id) as connection:
            _update(connection, sweep_id, number, values)

    @retry_on_disconnect
    def add_final(self, sweep_id: int, number: int, metrics: Mapping[str, float]) -> None:
        """Add metrics measured after the end of the trial, such as ``test/accuracy``."""
        with self._drivers.write_sweep(sweep_id) as connection:
            where = (trials.c.sweep_id == sweep_id) & (trials.c.number == number)
            stored = connection.execute(select(trials.c.final).where(where)).scalar_one_or_none() or {}
            _update(connection, sweep_id, number, {"final": {**stored, **metrics}})

    @retry_on_disconnect
    def set_run(self, sweep_id: int, number: int, run_id: str) -> None:
        """Store the tracking server's id of the trial's run."""
        with self._drivers.write_sweep(sweep_id) as connection:
            _update(connection, sweep_id, number, {"run_id": run_id})


def _update(connection: Connection, sweep_id: int, number: int, values: Mapping[str, Any]) -> None:
    where = (trials.c.sweep_id == sweep_id) & (trials.c.number == number)
    if connection.execute(update(trials).where(where).values(**values)).rowcount != 1:
        raise LedgerError(f"the sweep has no trial {number}")


def _marks(sweep_id: int) -> Select[Any]:
    """Return the query of the marks: one row per trial. Reports and decisions are only added, so counts suffice."""
    counts = [
        select(func.count()).where(table.c.sweep_id == sweep_id, table.c.trial == trials.c.number).scalar_subquery()
        for table in (reports, decisions)
    ]
    final = type_coerce(trials.c.final, Text)  # the stored text, not decoded
    columns = (trials.c.number, trials.c.state, final, trials.c.run_id, trials.c.ended_at)
    return select(*columns, *counts).where(trials.c.sweep_id == sweep_id).order_by(trials.c.number)


def _records(connection: Connection, sweep_id: int, numbers: Sequence[int] | None = None) -> tuple[TrialRecord, ...]:
    """Read trials (None: all), reports and decisions with one query each."""
    reported: dict[int, list[Report]] = {}
    for row in _rows(connection, reports, sweep_id, numbers):
        reported.setdefault(row.trial, []).append(_report(row))
    decided: dict[int, dict[int, Decision]] = {}
    for row in _rows(connection, decisions, sweep_id, numbers):
        decided.setdefault(row.trial, {})[row.nominal_samples] = _decision(row)
    return tuple(
        _record(row, tuple(reported.get(row.number, ())), decided.get(row.number, {}))
        for row in _rows(connection, trials, sweep_id, numbers)
    )


def _rows(connection: Connection, table: Table, sweep_id: int, numbers: Sequence[int] | None) -> list[Row[Any]]:
    trial = table.c.number if table is trials else table.c.trial
    order = [trial] if table is trials else [trial, table.c.nominal_samples]
    conditions: list[ColumnElement[bool]] = [table.c.sweep_id == sweep_id]
    if numbers is not None:
        conditions.append(trial.in_(numbers))
    return list(connection.execute(select(table).where(*conditions).order_by(*order)))


def _report(row: Row[Any]) -> Report:
    return Report(
        trial=row.trial,
        nominal_samples=row.nominal_samples,
        metrics=row.metrics,
        checkpoint=row.checkpoint,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _decision(row: Row[Any]) -> Decision:
    return Decision(
        trial=row.trial,
        nominal_samples=row.nominal_samples,
        action=Action(row.action),
        outcome=None if row.state is None else Outcome(state=TrialState(row.state), reason=row.reason),
    )


def _record(row: Row[Any], reported: tuple[Report, ...], decided: Mapping[int, Decision]) -> TrialRecord:
    return TrialRecord(
        number=row.number,
        params=row.params,
        settings=TrialSettings.from_params(row.settings),
        seed=row.seed,
        state=TrialState(row.state),
        reason=row.reason,
        reports=reported,
        decisions=decided,
        final=row.final,
        run_id=row.run_id,
        confirms=row.confirms,
        fold=row.fold,
        share=row.share,
        origin=row.origin,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
