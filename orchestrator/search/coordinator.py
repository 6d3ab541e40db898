"""The coordinator of a sweep: opens trials, commits reports, decides, ends trials. It knows no executor and no engine.

After the search it opens trainings of the best configurations with fresh seeds, if the plan asks for them.

Every change is committed to the ledger before observers and callers see it. The records in memory change after the
commit, and counters follow them, so a step costs the same after two thousand trials as after ten. One thread calls the
coordinator; any thread may call ``records``.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from orchestrator.core.errors import LedgerError
from orchestrator.core.seeds import derive_seed
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.policy import Until
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.trials.trial import Action, Decision, Outcome, Report, TrialRecord, TrialState, TrialTask
from orchestrator.ledger.memory import SweepLedger
from orchestrator.search.confirmation import ConfirmationQueue, FreshTraining
from orchestrator.search.control import POLL_S, Control, SearchState
from orchestrator.search.gain import ExpectedGain
from orchestrator.search.learning_curve import next_on_curve
from orchestrator.search.plan import SearchPlan
from orchestrator.search.spending import Spending
from orchestrator.search.stopping.decide import Decider
from orchestrator.search.stopping.exits import diverged, outside, overfitting
from orchestrator.search.study import TRIED, SweepStudy

FINALS_MISSING = "its final metrics are missing"
"""Part of the reason of a stopped trial; its final measurement failed."""


class Coordinator:
    """Runs one sweep in one driver: decides which trial trains next, and when each trial ends."""

    def __init__(
        self,
        ledger: SweepLedger,
        sweep: SweepRecord,
        plan: SearchPlan,
        *,
        observers: Sequence[SweepObserver] = (),
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
    ) -> None:
        """Resume the sweep from the ledger.

        Args:
            ledger: the ledger; the caller holds the sweep (``ledger.drivers.hold``).
            sweep: the sweep at the start of the driver; its ``elapsed_s`` is the time of earlier drivers.
            plan: space, metric, sampler, stopping rule and budget.
            observers: called after the commit of every event.
            clock: seconds since the epoch, for times in records.
            timer: monotonic seconds, for durations.
            poll_s: fewest seconds between two reads of new requests of users.
        """
        self._ledger = ledger
        self._sweep = sweep
        self._control = Control(ledger.requests, sweep.id, plan.budget, timer, poll_s)
        self._plan = plan = replace(plan, budget=self._control.budget)
        self._observers = tuple(observers)
        self._clock = clock
        self._timer = timer
        self._opened_at = timer()
        self._suspended = self._rests = False
        self._decider = Decider(
            policy=plan.stopping,
            metric=plan.metric,
            timetable=plan.timetable,
            diverged=diverged,
            overfitting=overfitting,
            outside=outside,
        )
        self._table, self._spending = self._decider.rung_table(), Spending(plan.budget)
        self._gain = ExpectedGain(plan) if plan.budget.until is Until.NO_EXPECTED_GAIN else None
        self._confirmations = ConfirmationQueue(plan)
        self._records: dict[int, TrialRecord] = {}
        self._searched: dict[int, TrialRecord] = {}  # without trainings with fresh seeds
        for record in ledger.trials.all(sweep.id):
            self._store(record)
        self._study_numbers = ledger.trials.study_numbers(sweep.id)
        self._study = SweepStudy(ledger.study_database, sweep.reference, plan)
        self._no_points: str | None = None
        self._study.reconcile(tuple(self._searched.values()), self._study_numbers)
        for record in self.records():
            self._end_if_failed(record.number)
        for request in self._control.clones:
            self._open_clone(request)
        self.flush_waiting()
        self._unfinished = sorted((r.number for r in self.records() if not r.ended), key=self._readiness)
        self.take_requests()
        self._rests = self.paused  # the driver of a paused sweep waits, and its time does not count

    # State.

    def records(self) -> tuple[TrialRecord, ...]:
        """Return all trials by ascending number, as of the last commit."""
        return tuple(self._records.values())

    @property
    def elapsed_s(self) -> float:
        """Running time of this driver and earlier drivers, in seconds."""
        return self._sweep.elapsed_s + (0.0 if self._rests else self._timer() - self._opened_at)

    @property
    def out_of_budget(self) -> str | None:
        """The reason to suspend running trials: time or tokens are spent, or most trials failed. None: no reason."""
        return self._spending.out_of_budget(self.elapsed_s) or self.failing

    @property
    def failing(self) -> str | None:
        """The reason to give up the sweep: most trials of this driver failed. None: no reason."""
        return self._spending.failing()

    @property
    def exhausted(self) -> bool:
        """Whether this driver starts no further trials."""
        return self.exhausted_reason is not None

    @property
    def exhausted_reason(self) -> str | None:
        """The reason why no further trials start; None if trials may start."""
        if (reason := self.out_of_budget) is not None:
            return reason
        if self._suspended:
            return "the driver is stopping"
        if self._unfinished:
            return None
        reason = self._no_new_trials()
        return None if reason is not None and self._next_to_confirm() is not None else reason

    @property
    def paused(self) -> bool:
        """Whether a user paused the sweep: no trial starts or continues."""
        return self._control.paused

    def decision(self, number: int) -> Decision | None:
        """Return the committed decision on a trial's newest report; None if there is no report or no decision yet."""
        record = self._records[number]
        return record.decisions.get(record.reports[-1].nominal_samples) if record.reports else None

    def next_point(self, number: int) -> int | None:
        """Return the next report point of a trial; None if it waits for a decision, must stop, or has ended."""
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
        """Return whether a trial has the decision to stop and lacks its final metrics."""
        decision = self.decision(number)
        return not self._records[number].ended and decision is not None and decision.action is Action.STOP

    def best_samples(self, number: int) -> int | None:
        """Return the report point of a trial's best value, in samples; None without any value."""
        best = self._records[number].best(self._plan.metric)
        return None if best is None else best.nominal_samples

    # Events.

    def next_task(self) -> TrialTask | None:
        """Return a trial to train or to finish; None if none can start now.

        Unfinished trials of an earlier driver come first, in descending order of their samples.
        """
        if self._suspended or self.paused or self.out_of_budget is not None:
            return None
        for source in (self._next_unfinished, self._open_trial, self._open_fresh_training):
            if (number := source()) is not None:
                break
        else:
            return None
        record = self._records[number]
        for observer in self._observers:
            observer.trial_started(record)
        return record.task

    def take_requests(self) -> tuple[Decision, ...]:
        """Answer the new requests of users, commit each answer, then act on it. Return decisions that follow."""
        answered = False
        for request in self._control.answer_new(self._search_state, self._clock):
            answered = True
            if self._rests and not self.paused:
                self._rests, self._opened_at = False, self._timer()
            for observer in self._observers:
                observer.answered(request)
            if request.clone is not None:
                self._open_clone(request)
                self._unfinished.append(request.clone)
            self._use_budget()
        return self.flush_waiting() if answered else ()

    def report(self, report: Report) -> tuple[Decision, ...]:
        """Commit a report, decide, commit and return the decisions on this trial and on waiting trials.

        A repeated report changes nothing; its decision, if there is one, is returned again.

        Raises:
            LedgerError: the trial has ended, or its next report point is another one.
        """
        record = self._records[report.trial]
        if any(known.nominal_samples == report.nominal_samples for known in record.reports):
            decision = record.decisions.get(report.nominal_samples)
            return (*(() if decision is None else (decision,)), *self.flush_waiting())
        if report.nominal_samples != self.next_point(report.trial):
            raise LedgerError(
                f"trial {report.trial} ({record.state}) reported at {report.nominal_samples} samples; "
                f"expected: {self.next_point(report.trial)}"
            )
        self._ledger.trials.add_report(self._sweep.id, report)
        record = self._store_with_study(replace(record, reports=(*record.reports, report)))
        for observer in self._observers:
            observer.reported(record, report)
        return self.flush_waiting()

    def flush_waiting(self) -> tuple[Decision, ...]:
        """Make all possible decisions on waiting trials, commit and return them.

        Called when no trial runs and trials wait: no further trial may reach their rung.
        """
        more_trials, stopped = self._no_new_trials() is None, self._control.stopped
        decisions = self._decider.decide_from(self._table, more_trials=more_trials, stopped=stopped)
        if decisions:
            self._ledger.trials.add_decisions(self._sweep.id, decisions)
        for decision in decisions:
            record = self._records[decision.trial]
            record = self._store(replace(record, decisions={**record.decisions, decision.nominal_samples: decision}))
            for observer in self._observers:
                observer.decided(record, decision)
            self._end_if_failed(decision.trial)
        return decisions

    def finish(self, number: int, final: Mapping[str, float]) -> None:
        """End a trial with the outcome of its decision and the final metrics. An ended trial does not change.

        Raises:
            LedgerError: the trial has no decision to stop.
        """
        if self._records[number].ended:
            return
        decision = self.decision(number)
        if decision is None or decision.outcome is None:
            raise LedgerError(f"trial {number} has no decision to stop")
        self._end(number, decision.outcome, final)

    def fail(self, number: int, reason: str) -> None:
        """End a diverged or crashed trial. An ended trial does not change.

        A trial with a decision to stop keeps its decided outcome, if its final measurement crashed.
        """
        if self._records[number].ended:
            return
        decision = self.decision(number)
        decided = None if decision is None else decision.outcome
        if decided is None:
            self._end(number, Outcome(state=TrialState.FAIL, reason=reason), {})
        else:
            self._end(number, replace(decided, reason=f"{decided.reason}; {FINALS_MISSING}: {reason}"), {})

    def cut_short(self, number: int, reason: str) -> None:
        """End a trial that cannot be trained further, as pruned: its reports count. An ended trial does not change."""
        if not self._records[number].ended:
            self._end(number, Outcome(state=TrialState.PRUNED, reason=reason), {})

    def take_notes(self) -> tuple[str, ...]:
        """Return the notes on deferred proposals and on fresh trainings since the last call, one sentence each."""
        return (*self._study.take_notes(), *self._confirmations.take_notes())

    def suspend(self) -> None:
        """Start no further trials. Unfinished trials are left to the next driver."""
        self._suspended = True

    def _no_new_trials(self) -> str | None:
        """Return the reason why no new trial can open; None if one can."""
        trials, started = self._plan.budget.trials, len(self._searched)
        if trials is not None and started >= trials:
            more = f"; the budget is {trials} now" if started > trials else ""
            return f"all {started} trials were started{more}"
        return self._nothing_to_try()

    def _nothing_to_try(self) -> str | None:
        """Return the reason other than the budget why no new trial can open; None if one can."""
        if self._gain is not None and (reason := self._gain.too_small(self._searched.values())) is not None:
            return reason
        reason = TRIED if self._study.exhausted else self._no_points
        return None if reason is None else f"{reason} ({len(self._searched)} trials)"

    def _next_unfinished(self) -> int | None:
        while self._unfinished:
            number = self._unfinished.pop(0)
            if not self._records[number].ended:
                return number
        return None

    def _readiness(self, number: int) -> tuple[bool, int, int]:
        return not self.needs_finish(number), -self._records[number].samples, number

    def _open_trial(self) -> int | None:
        if self._no_new_trials() is not None:
            return None
        point = self._study.ask()
        if isinstance(point, str):
            self._no_points = point
            return None
        return self._add(self._new_record(point.params), point.study_number)

    def _open_clone(self, request: ControlRequest) -> None:
        """Open the trial of an accepted clone, unless it is open."""
        assert request.params is not None
        if request.clone not in self._records:
            study_number = self._study.add_clone(request.id, request.params)
            self._add(self._new_record(request.params, request.origin), study_number)

    def _new_record(self, params: Mapping[str, ParamValue], origin: str | None = None) -> TrialRecord:
        number = len(self._records)
        return TrialRecord(
            number=number,
            params=params,
            settings=self._plan.settings(params),
            seed=derive_seed(self._plan.seed, "trial", number),
            state=TrialState.RUNNING,
            origin=origin,
            started_at=self._clock(),
        )

    def _add(self, record: TrialRecord, study_number: int | None) -> int:
        """Commit a new trial and return its number."""
        self._ledger.trials.add(self._sweep.id, record, study_number)
        if study_number is not None:
            self._study_numbers[record.number] = study_number
        return self._store_with_study(record).number

    def _use_budget(self) -> None:
        self._plan = replace(self._plan, budget=self._control.budget)
        self._spending.use_budget(self._plan.budget)
        self._study.use_budget(self._plan.budget)

    def _search_state(self) -> SearchState:
        budget, tokens, nothing = self._plan.budget, self._spending.tokens, self._nothing_to_try()
        return SearchState(
            records=self._records, budget=budget, elapsed_s=self.elapsed_s, tokens=tokens, nothing_to_try=nothing
        )

    def _open_fresh_training(self) -> int | None:
        """Open a training of a leader's configuration after the search; None if none is missing or allowed yet."""
        if self._no_new_trials() is None or (fresh := self._next_to_confirm()) is None:
            return None
        record = self._new_record(fresh.leader.params)
        record = replace(record, seed=fresh.seed, confirms=fresh.leader.number, fold=fresh.fold, share=fresh.share)
        return self._add(record, None)

    def _next_to_confirm(self) -> FreshTraining | None:
        return self._confirmations.next(self._searched.values()) or next_on_curve(self._plan, self._records.values())

    def _end_if_failed(self, number: int) -> None:
        """End a trial with the decided outcome FAIL; it gets no final metrics."""
        decision = self.decision(number)
        if decision is not None and decision.outcome is not None and decision.outcome.state is TrialState.FAIL:
            self.finish(number, {})

    def _end(self, number: int, outcome: Outcome, final: Mapping[str, float]) -> None:
        now = self._clock()
        self._ledger.trials.end(self._sweep.id, number, outcome, final=final, ended_at=now)
        record = replace(
            self._records[number], state=outcome.state, reason=outcome.reason, final=dict(final), ended_at=now
        )
        self._store_with_study(record)
        for observer in self._observers:
            observer.trial_ended(record)

    def _store_with_study(self, record: TrialRecord) -> TrialRecord:
        """Store a committed record in memory and in the study."""
        self._store(record)
        if record.confirms is None:
            self._study.follow(record, self._study_numbers[record.number])
        return record

    def _store(self, record: TrialRecord) -> TrialRecord:
        """Store a committed record in memory, and update counters and rung table."""
        self._spending.update(self._records.get(record.number), record)
        self._table.update(record)
        self._records[record.number] = record
        self._confirmations.update(record)
        if record.confirms is None:
            self._searched[record.number] = record
        return record
