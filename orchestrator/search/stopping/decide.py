"""Decide on undecided reports: a pure function of the trials' records.

The same records give the same decisions, so a driver may die between a report and its decision.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.goal import Constraint
from orchestrator.core.sweeps.policy import StoppingPolicy
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import (
    LIMIT,
    OVERFITTING,
    Action,
    Decision,
    Outcome,
    Report,
    TrialRecord,
    TrialState,
)
from orchestrator.search.stopping.rules import build_rule
from orchestrator.search.stopping.rung_table import RungTable

Diverged: TypeAlias = Callable[[Mapping[str, float], Sequence[Report]], str | None]
Overfitting: TypeAlias = Callable[[Sequence[Report], int], str | None]
Outside: TypeAlias = Callable[[Mapping[str, float], Sequence[Constraint]], str | None]
NO_STOPPED_TRIALS: Mapping[int, str] = {}
"""No trial was stopped by a user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decider:
    """Decides on the trials of one sweep.

    Attributes:
        policy: the sweep's stopping policy.
        metric: the searched metric; the policy may name another one for the comparison at rungs.
        timetable: the report points.
        diverged, overfitting, outside: the exits by a trial's own reports; each returns the reason, or None.
    """

    policy: StoppingPolicy
    metric: Metric
    timetable: Timetable
    diverged: Diverged
    overfitting: Overfitting
    outside: Outside

    def rung_table(self, records: Iterable[TrialRecord] = ()) -> RungTable:
        """Return the table for ``decide_from``, filled with these records."""
        rule = build_rule(self.policy, self.timetable.points)
        return RungTable(rule, self.policy.metric or self.metric, self.timetable, records, goal=self.metric)

    def decide(
        self, records: Iterable[TrialRecord], *, more_trials: bool, stopped: Mapping[int, str] = NO_STOPPED_TRIALS
    ) -> tuple[Decision, ...]:
        """Return all possible decisions; the other undecided trials wait for further trials at their rung.

        Args:
            records: every trial of the sweep.
            more_trials: whether new trials may start; they could reach any rung.
            stopped: the trials that a user stopped, by number, each with the reason.
        """
        return self.decide_from(self.rung_table(records), more_trials=more_trials, stopped=stopped)

    def decide_from(
        self, table: RungTable, *, more_trials: bool, stopped: Mapping[int, str] = NO_STOPPED_TRIALS
    ) -> tuple[Decision, ...]:
        """Return the same decisions as ``decide`` for the records in ``table``."""
        rule = table.rule
        decisions: dict[int, Decision] = {}
        waiting: dict[tuple[int, int], list[TrialRecord]] = {}
        for record in table.running():
            if not record.undecided:
                continue
            bracket, rung = rule.bracket(record.number), record.reports[-1].nominal_samples
            compared = record.confirms is None and rung in rule.brackets[bracket]
            decision = self._decide_alone(record, compared=compared, stopped=stopped.get(record.number))
            if decision is None:
                waiting.setdefault((rung, bracket), []).append(record)
            else:
                decisions[record.number] = decision
        # From the lowest rung up: a trial stopped at a lower rung cannot reach a higher one.
        for rung, bracket in sorted(waiting):
            if len(table.keys(bracket, rung)) < rule.cohort and (
                more_trials or _may_grow(table, bracket, rung, decisions)
            ):
                continue
            decisions |= self._decide_at_rung(table, bracket, rung, waiting[rung, bracket])
        return tuple(decisions[number] for number in sorted(decisions))

    def _decide_alone(self, record: TrialRecord, *, compared: bool, stopped: str | None) -> Decision | None:
        """Decide by the trial's own reports, and by a user's request; None if it must be ``compared`` at its rung."""
        newest = record.reports[-1]
        reason = self.diverged(newest.metrics, record.reports)
        if reason is not None:
            return self._stop(record, TrialState.FAIL, f"diverged: {reason}")
        end = self.timetable.of(record.settings)[-1]
        if newest.nominal_samples >= end:
            return self._stop(record, TrialState.COMPLETE, f"reached its budget of {end} samples")
        if stopped is not None:
            return self._stop(record, TrialState.PRUNED, stopped)
        grace = self.policy.grace_samples or self.timetable.points[0]
        patience = self.policy.patience
        if patience is not None and newest.nominal_samples >= grace and self._stalled(record, patience):
            reason = self.overfitting(record.reports, patience)
            if reason is not None:
                return self._stop(record, TrialState.COMPLETE, f"{OVERFITTING}{reason}")
        if newest.nominal_samples >= grace and (reason := self.outside(newest.metrics, self.policy.limits)) is not None:
            return self._stop(record, TrialState.COMPLETE, f"{LIMIT}{reason}")
        return None if compared else _continue(newest)

    def _stalled(self, record: TrialRecord, patience: int) -> bool:
        """Return whether the searched metric has its best value before the last ``patience`` reports.

        An accuracy often rises while the validation loss rises too, because the model grows too confident. Such a trial
        still improves.
        """
        return record.best(self.metric) not in record.reports[-patience:]

    def _stop(self, record: TrialRecord, state: TrialState, reason: str) -> Decision:
        """Return a STOP. The outcome of a trial without any value is FAIL, whatever the reason to stop."""
        newest = record.reports[-1]
        if state is not TrialState.FAIL and record.best(self.metric) is None:
            state, reason = TrialState.FAIL, f"no report holds a number for {self.metric.name}"
        outcome = Outcome(state=state, reason=reason)
        return Decision(trial=newest.trial, nominal_samples=newest.nominal_samples, action=Action.STOP, outcome=outcome)

    def _decide_at_rung(
        self, table: RungTable, bracket: int, rung: int, undecided: Sequence[TrialRecord]
    ) -> dict[int, Decision]:
        searched = {record.number: record for record in undecided}
        keys = {number: table.key(record, rung) for number, record in searched.items()}
        stopped_here = table.rule.trials_to_stop(table.keys(bracket, rung), keys)
        # By a loss alone, the rule would also stop the trial with the best accuracy, the winner so far.
        stopped_here = {number: why for number, why in stopped_here.items() if not table.leads(searched[number], rung)}
        by = "" if self.policy.metric is None else f"by {self.policy.metric.name} "
        return {
            record.number: self._stop(record, TrialState.PRUNED, f"{stopped_here[record.number]} {by}at {rung} samples")
            if record.number in stopped_here
            else _continue(record.reports[-1])
            for record in undecided
        }


def _may_grow(table: RungTable, bracket: int, rung: int, decisions: Mapping[int, Decision]) -> bool:
    """Return whether a running trial of a bracket may still reach a rung."""
    searched = (record for record in table.running() if record.confirms is None)
    peers = (record for record in searched if table.rule.bracket(record.number) == bracket)
    return any(rung < table.end(record) and _may_reach(record, rung, decisions) for record in peers)


def _may_reach(record: TrialRecord, rung: int, decisions: Mapping[int, Decision]) -> bool:
    if record.samples >= rung:
        return False
    decision = record.decisions.get(record.samples, decisions.get(record.number))
    return decision is None or decision.action is not Action.STOP


def _continue(report: Report) -> Decision:
    return Decision(trial=report.trial, nominal_samples=report.nominal_samples, action=Action.CONTINUE)
