"""The decision on every report that has none: a pure function of the trials' records.

Called again with the same records it decides the same, so a driver may die between a report and its decision.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.core.metric import Metric
from orchestrator.core.policy import StoppingPolicy
from orchestrator.core.timetable import Timetable
from orchestrator.core.trial import Action, Decision, Outcome, Report, TrialRecord, TrialState
from orchestrator.search.stopping.rules import build_rule
from orchestrator.search.stopping.standings import Standings

Diverged: TypeAlias = Callable[[Mapping[str, float], Sequence[Report]], str | None]
Overfitting: TypeAlias = Callable[[Sequence[Report], int], str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """What decisions depend on beside the records.

    Attributes:
        policy: the sweep's stopping policy.
        metric: what trials are compared by.
        timetable: when trials report.
        diverged, overfitting: the exits that look at one trial alone; each returns the reason, or None.
    """

    policy: StoppingPolicy
    metric: Metric
    timetable: Timetable
    diverged: Diverged
    overfitting: Overfitting

    def standings(self, records: Iterable[TrialRecord] = ()) -> Standings:
        """Return what decisions need of these records; further ones can be taken into it."""
        return Standings(build_rule(self.policy, self.timetable.points), self.metric, self.timetable, records)

    def decide(self, records: Iterable[TrialRecord], *, more_trials: bool) -> tuple[Decision, ...]:
        """Return the decisions that can be made now; a trial without one waits for others at its rung.

        Args:
            records: every trial of the sweep.
            more_trials: whether trials may still be opened; they could reach any rung.
        """
        return self.decide_among(self.standings(records), more_trials=more_trials)

    def decide_among(self, standings: Standings, *, more_trials: bool) -> tuple[Decision, ...]:
        """Return what ``decide`` returns for the records that ``standings`` has taken."""
        rule = standings.rule
        decisions: dict[int, Decision] = {}
        meetings: dict[tuple[int, int], list[TrialRecord]] = {}
        for record in standings.live():
            if not record.undecided:
                continue
            bracket, rung = rule.bracket(record.number), record.reports[-1].nominal_samples
            alone = self._alone(record, meets=rung in rule.brackets[bracket])
            if alone is None:
                meetings.setdefault((rung, bracket), []).append(record)
            else:
                decisions[record.number] = alone
        # From the lowest rung up: who stops below will not arrive above.
        for rung, bracket in sorted(meetings):
            if len(standings.keys(bracket, rung)) < rule.cohort and (
                more_trials or _may_grow(standings, bracket, rung, decisions)
            ):
                continue
            decisions |= self._together(standings, bracket, rung, meetings[rung, bracket])
        return tuple(decisions[number] for number in sorted(decisions))

    def _alone(self, record: TrialRecord, *, meets: bool) -> Decision | None:
        """Decide by the trial's own reports; None if ``meets`` and the others at its rung have a say."""
        newest = record.reports[-1]
        reason = self.diverged(newest.metrics, record.reports)
        if reason is not None:
            return self._stop(record, TrialState.FAIL, f"diverged: {reason}")
        end = self.timetable.of(record.settings)[-1]
        if newest.nominal_samples >= end:
            return self._stop(record, TrialState.COMPLETE, f"reached its budget of {end} samples")
        grace = self.policy.grace_samples or self.timetable.points[0]
        if self.policy.patience is not None and newest.nominal_samples >= grace:
            reason = self.overfitting(record.reports, self.policy.patience)
            if reason is not None:
                return self._stop(record, TrialState.COMPLETE, f"overfitting: {reason}")
        return None if meets else _go_on(newest)

    def _stop(self, record: TrialRecord, state: TrialState, reason: str) -> Decision:
        """Return a STOP; a trial without any value has failed, whatever stopped it."""
        newest = record.reports[-1]
        if state is not TrialState.FAIL and record.best(self.metric) is None:
            state, reason = TrialState.FAIL, f"no report holds a number for {self.metric.name}"
        outcome = Outcome(state=state, reason=reason)
        return Decision(trial=newest.trial, nominal_samples=newest.nominal_samples, action=Action.STOP, outcome=outcome)

    def _together(
        self, standings: Standings, bracket: int, rung: int, judged: Sequence[TrialRecord]
    ) -> dict[int, Decision]:
        keys = {record.number: standings.key(record, rung) for record in judged}
        losers = standings.rule.losers(standings.keys(bracket, rung), keys)
        return {
            record.number: self._stop(record, TrialState.PRUNED, f"{losers[record.number]} at {rung} samples")
            if record.number in losers
            else _go_on(record.reports[-1])
            for record in judged
        }


def _may_grow(standings: Standings, bracket: int, rung: int, decisions: Mapping[int, Decision]) -> bool:
    """Return whether any trial of a bracket that is still below a rung may yet pass it."""
    peers = (record for record in standings.live() if standings.rule.bracket(record.number) == bracket)
    return any(rung < standings.end(record) and _may_reach(record, rung, decisions) for record in peers)


def _may_reach(record: TrialRecord, rung: int, decisions: Mapping[int, Decision]) -> bool:
    if record.samples >= rung:
        return False
    decision = record.decisions.get(record.samples, decisions.get(record.number))
    return decision is None or decision.action is not Action.STOP


def _go_on(report: Report) -> Decision:
    return Decision(trial=report.trial, nominal_samples=report.nominal_samples, action=Action.CONTINUE)
