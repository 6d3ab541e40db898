"""The heart of a sweep: hands out trials, commits reports, decides, ends trials. It knows no executor and no engine.

Everything it does is committed to the ledger before it is told; its own records are a mirror that changes after a
commit, and what is asked of them at every step is counted as they change: a step costs the same after two thousand
trials as after ten. One thread drives it; ``records`` may be read from any.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from orchestrator.core.errors import LedgerError
from orchestrator.core.observer import SweepObserver
from orchestrator.core.seeds import derive_seed
from orchestrator.core.settings import TrialSettings
from orchestrator.core.sweep import SweepRecord
from orchestrator.core.trial import Action, Decision, Outcome, Report, TrialRecord, TrialState, TrialTask
from orchestrator.evaluation.exits import diverged, overfitting
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.plan import SearchPlan
from orchestrator.search.spending import Spending
from orchestrator.search.stopping.decide import Judge
from orchestrator.search.study import SweepStudy

FINALS_MISSING = "its final metrics are missing"
"""Stands in the reason of a trial that ended as it was told to, though its shift sets could not be measured."""


class Coordinator:
    """One driver's hold on one sweep."""

    def __init__(
        self,
        ledger: Ledger,
        sweep: SweepRecord,
        plan: SearchPlan,
        *,
        observers: Sequence[SweepObserver] = (),
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the sweep up where the ledger says it is.

        Args:
            ledger: where the sweep is; it should be driven (``ledger.drive``) by the caller.
            sweep: the sweep, as it was when the driver started; its ``elapsed_s`` is time spent by earlier drivers.
            plan: what is searched, how, and what may be spent.
            observers: hear of every event after its commit.
            clock: seconds since the epoch, for what happened when.
            timer: seconds since any moment, for how long it took; unlike the clock, nobody can set it back.
        """
        self._ledger = ledger
        self._sweep = sweep
        self._plan = plan
        self._observers = tuple(observers)
        self._clock = clock
        self._timer = timer
        self._opened_at = timer()
        self._suspended = False
        self._judge = Judge(
            policy=plan.stopping,
            metric=plan.metric,
            timetable=plan.timetable,
            diverged=diverged,
            overfitting=overfitting,
        )
        self._standings, self._spending = self._judge.standings(), Spending(plan.budget)
        self._records: dict[int, TrialRecord] = {}
        for record in ledger.trials.all(sweep.id):
            self._take(record)
        self._study_numbers = ledger.trials.study_numbers(sweep.id)
        self._study = SweepStudy(ledger.database.url, sweep.reference, plan)
        self._space_left = True
        self._study.reconcile(self.records(), self._study_numbers)
        for record in self.records():
            self._end_if_failed(record.number)
        self.flush_waiting()
        self._offered = sorted((r.number for r in self.records() if not r.ended), key=self._readiness)

    # What is going on.

    def records(self) -> tuple[TrialRecord, ...]:
        """Return every trial by ascending number, as of the last commit."""
        return tuple(self._records.values())

    @property
    def elapsed_s(self) -> float:
        """Seconds that this driver and earlier ones have been running."""
        return self._sweep.elapsed_s + self._timer() - self._opened_at

    @property
    def out_of_budget(self) -> str | None:
        """Why running trials are to be suspended, in words: time or tokens are spent, or trials keep failing."""
        return self._spending.out_of_budget(self.elapsed_s) or self.failing

    @property
    def failing(self) -> str | None:
        """Why it is pointless to go on, in words: most trials of this driver failed."""
        return self._spending.failing()

    @property
    def exhausted(self) -> bool:
        """Whether this driver will hand out nothing more."""
        return self.exhausted_reason is not None

    @property
    def exhausted_reason(self) -> str | None:
        """Why nothing more will be handed out, in words; None if something may be."""
        spent = self.out_of_budget
        if spent is not None:
            return spent
        if self._suspended:
            return "the driver is stopping"
        if self._offered:
            return None
        return self._closed()

    def decision(self, number: int) -> Decision | None:
        """Return the committed decision on a trial's newest report; None if it waits, or has not reported."""
        record = self._records[number]
        return record.decisions.get(record.reports[-1].nominal_samples) if record.reports else None

    def next_point(self, number: int) -> int | None:
        """Return the nominal samples a trial is to train to now; None if it waits, is to stop, or has ended."""
        record = self._records[number]
        if record.ended:
            return None
        points, decision = self._plan.timetable.of(record.settings), self.decision(number)
        if not record.reports:
            return points[0]
        if decision is None or decision.action is not Action.CONTINUE:
            return None
        return points[points.index(record.reports[-1].nominal_samples) + 1]

    def needs_finish(self, number: int) -> bool:
        """Return whether a trial was told to stop and its final metrics are still to be measured."""
        decision = self.decision(number)
        return not self._records[number].ended and decision is not None and decision.action is Action.STOP

    def best_samples(self, number: int) -> int | None:
        """Return at which report a trial was best; None if no report holds a number."""
        best = self._records[number].best(self._plan.metric)
        return None if best is None else best.nominal_samples

    # What happens.

    def next_task(self) -> TrialTask | None:
        """Return a trial to train or to finish; None if there is nothing to hand out now.

        Trials that an earlier driver left come first, those nearest to their end before the others.
        """
        if self._suspended or self.out_of_budget is not None:
            return None
        number = self._next_offered()
        if number is None:
            number = self._open_trial()
        if number is None:
            return None
        record = self._records[number]
        for observer in self._observers:
            observer.trial_started(record)
        return record.task

    def report(self, report: Report) -> tuple[Decision, ...]:
        """Commit a report, decide, commit the decisions and return them: on this trial, and on others that waited.

        A report that is already committed changes nothing, and its own decision, if there is one, is returned again.

        Raises:
            LedgerError: the trial has ended, or was not to report at this rung now.
        """
        record = self._records[report.trial]
        if any(known.nominal_samples == report.nominal_samples for known in record.reports):
            again = record.decisions.get(report.nominal_samples)
            return (*(() if again is None else (again,)), *self.flush_waiting())
        if report.nominal_samples != self.next_point(report.trial):
            raise LedgerError(
                f"trial {report.trial} ({record.state}) reported at {report.nominal_samples} samples; "
                f"expected: {self.next_point(report.trial)}"
            )
        self._ledger.trials.add_report(self._sweep.id, report)
        record = self._mirror(replace(record, reports=(*record.reports, report)))
        for observer in self._observers:
            observer.reported(record, report)
        return self.flush_waiting()

    def flush_waiting(self) -> tuple[Decision, ...]:
        """Decide on every report that can be decided now, commit the decisions and return them.

        To be called when nothing runs and trials wait: the last that could have joined them may have ended elsewhere.
        """
        decisions = self._judge.decide_among(self._standings, more_trials=self._closed() is None)
        if decisions:
            self._ledger.trials.add_decisions(self._sweep.id, decisions)
        for decision in decisions:
            record = self._records[decision.trial]
            record = self._take(replace(record, decisions={**record.decisions, decision.nominal_samples: decision}))
            for observer in self._observers:
                observer.decided(record, decision)
            self._end_if_failed(decision.trial)
        return decisions

    def finish(self, number: int, final: Mapping[str, float]) -> None:
        """End a trial as its decision says, with the metrics of its best checkpoint; an ended trial stays as it is.

        Raises:
            LedgerError: no decision told the trial to stop.
        """
        if self._records[number].ended:
            return
        decision = self.decision(number)
        if decision is None or decision.outcome is None:
            raise LedgerError(f"trial {number} was not told to stop")
        self._end(number, decision.outcome, final)

    def fail(self, number: int, reason: str) -> None:
        """End a trial that diverged or crashed; an ended trial stays as it is.

        A trial that had already been told to stop, and crashed while it was measured, ends as it was told to.
        """
        if self._records[number].ended:
            return
        decision = self.decision(number)
        told = None if decision is None else decision.outcome
        if told is None:
            self._end(number, Outcome(state=TrialState.FAIL, reason=reason), {})
        else:
            self._end(number, replace(told, reason=f"{told.reason}; {FINALS_MISSING}: {reason}"), {})

    def suspend(self) -> None:
        """Hand out nothing more. Unfinished trials stay as they are, for the next driver."""
        self._suspended = True

    def _closed(self) -> str | None:
        """Return why no trial will be opened any more, by what the ledger holds; None if one may be."""
        trials = self._plan.budget.trials
        if trials is not None and len(self._records) >= trials:
            more = f"; the budget is {trials} now" if len(self._records) > trials else ""
            return f"all {len(self._records)} trials were handed out{more}"
        if not self._space_left or self._study.exhausted:
            return f"every point of the space has been tried ({len(self._records)} trials)"
        return None

    def _next_offered(self) -> int | None:
        while self._offered:
            number = self._offered.pop(0)
            if not self._records[number].ended:
                return number
        return None

    def _readiness(self, number: int) -> tuple[bool, int, int]:
        return not self.needs_finish(number), -self._records[number].samples, number

    def _open_trial(self) -> int | None:
        if self._closed() is not None:
            return None
        asked = self._study.ask()
        if asked is None:
            self._space_left = False
            return None
        number = len(self._records)
        record = TrialRecord(
            number=number,
            params=asked.params,
            settings=TrialSettings.from_params({**self._plan.fixed, **asked.params}),
            seed=derive_seed(self._plan.seed, "trial", number),
            state=TrialState.RUNNING,
            started_at=self._clock(),
        )
        self._ledger.trials.add(self._sweep.id, record, asked.study_number)
        self._study_numbers[number] = asked.study_number
        self._take(record)
        return number

    def _end_if_failed(self, number: int) -> None:
        """End a trial whose decision is that it failed: nothing of it is to be measured."""
        decision = self.decision(number)
        if decision is not None and decision.outcome is not None and decision.outcome.state is TrialState.FAIL:
            self.finish(number, {})

    def _end(self, number: int, outcome: Outcome, final: Mapping[str, float]) -> None:
        now = self._clock()
        self._ledger.trials.end(self._sweep.id, number, outcome, final=final, ended_at=now)
        record = replace(
            self._records[number], state=outcome.state, reason=outcome.reason, final=dict(final), ended_at=now
        )
        self._mirror(record)
        for observer in self._observers:
            observer.trial_ended(record)

    def _mirror(self, record: TrialRecord) -> TrialRecord:
        """Take what was committed into the records and into the study."""
        self._take(record)
        self._study.follow(record, self._study_numbers[record.number])
        return record

    def _take(self, record: TrialRecord) -> TrialRecord:
        """Take what was committed into the records, and into what is counted of them."""
        self._spending.take(self._records.get(record.number), record)
        self._standings.take(record)
        self._records[record.number] = record
        return record
