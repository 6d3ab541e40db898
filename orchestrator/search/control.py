"""Answers to the requests of users: each request is read, answered once, and the answer is committed.

``judge`` is a pure function of the ledger's content. The coordinator acts on an answer after its commit, and after a
kill the next coordinator completes an action from the committed answer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.core.sweeps.control import (
    Answer,
    ControlKind,
    ControlRequest,
    Limits,
    done,
    extended,
    paused_by,
    stop_reasons,
)
from orchestrator.core.sweeps.policy import Budget
from orchestrator.core.trials.trial import Action, TrialRecord
from orchestrator.ledger.codec import canonical
from orchestrator.ledger.memory import RequestLog

POLL_S = 1.0
"""Fewest seconds between two looks at the ledger for new requests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchState:
    """The state of a search at the time of an answer.

    Attributes:
        records: all trials by number.
        budget: the current budget.
        elapsed_s: running time of all drivers, in seconds.
        tokens: training tokens of all trials.
        nothing_to_try: the reason why no trial starts, other than the budget; None: there is none.
    """

    records: Mapping[int, TrialRecord]
    budget: Budget
    elapsed_s: float
    tokens: int
    nothing_to_try: str | None

    @property
    def started(self) -> int:
        """Number of trials of the search."""
        return sum(record.confirms is None for record in self.records.values())


def judge(
    request: ControlRequest, state: SearchState, earlier: Sequence[ControlRequest], *, since: float, now: float
) -> ControlRequest:
    """Return the request with its answer.

    Args:
        request: not answered yet.
        state: state of the search.
        earlier: the requests answered before.
        since: start of this driver, in seconds since the epoch.
        now: seconds since the epoch.
    """
    answered, paused = replace(request, answered_at=now), paused_by(earlier) is not None
    match request.kind:
        case ControlKind.STOP:
            return _stop(answered, state.records, stop_reasons(earlier))
        case ControlKind.CLONE:
            return _clone(answered, state)
        case ControlKind.EXTEND:
            return _extend(answered, state)
        case ControlKind.PAUSE:
            return _pause(answered, paused=paused, late=request.at < since)
    return _done(answered, "the sweep continues") if paused else _refused(answered, "the sweep is not paused")


def stop_problem(records: Mapping[int, TrialRecord], number: int, stopped: Mapping[int, str]) -> str | None:
    """Return why a trial cannot be stopped; None if it can."""
    record = records.get(number)
    if record is None:
        return f"there is no trial {number}; trials: 0 to {len(records) - 1}" if records else "no trial has started"
    if record.ended:
        return f"trial {number} has ended already ({record.state}: {record.reason})"
    if record.confirms is not None:
        return f"trial {number} trains trial {record.confirms} with a fresh seed; a shorter training confirms nothing"
    decision = record.decisions.get(record.samples)
    if decision is not None and decision.outcome is not None and decision.action is Action.STOP:
        return f"trial {number} is being stopped already ({decision.outcome.reason})"
    return f"trial {number} is being stopped already ({stopped[number]})" if number in stopped else None


def _stop(request: ControlRequest, records: Mapping[int, TrialRecord], stopped: Mapping[int, str]) -> ControlRequest:
    assert request.trial is not None
    problem = stop_problem(records, request.trial, stopped)
    if problem is not None:
        return _refused(request, problem)
    waits = records[request.trial].undecided
    return _done(request, f"trial {request.trial} stops {'now' if waits else 'at its next report'}; its reports count")


def _pause(request: ControlRequest, *, paused: bool, late: bool) -> ControlRequest:
    if paused or late:
        return _refused(request, "the sweep is paused already" if paused else "its driver ended before it could pause")
    return _done(request, "running trials end at their next report; no trial starts until the sweep resumes")


def _clone(request: ControlRequest, state: SearchState) -> ControlRequest:
    wanted = canonical(dict(request.params or {}))
    for record in state.records.values():
        if canonical(dict(record.params)) == wanted:
            return _refused(request, f"trial {record.number} has this configuration already")
    trials = state.budget.trials
    if trials is not None and state.started >= trials:
        return _refused(request, f"all {state.started} trials of the budget were started; extend the sweep first")
    reason = state.budget.spent(state.elapsed_s, state.tokens)
    if reason is not None:
        return _refused(request, f"{reason}; extend the sweep first")
    number = len(state.records)
    return replace(_done(request, f"trial {number} starts in the next free slot"), clone=number)


def _extend(request: ControlRequest, state: SearchState) -> ControlRequest:
    more, budget = request.more, state.budget
    if more.trials is not None and state.nothing_to_try is not None:
        return _refused(request, f"no further trial can start: {state.nothing_to_try}")
    for name, added, limit in (
        ("trials", more.trials, budget.trials),
        ("wall_time", more.wall_time_s, budget.wall_time_s),
        ("tokens", more.tokens, budget.tokens),
    ):
        if added is not None and limit is None:
            return _refused(request, f"the budget has no limit {name}")
    time_s = max(budget.wall_time_s or 0.0, state.elapsed_s)
    limits = Limits(
        trials=None if more.trials is None else max(budget.trials or 0, state.started) + more.trials,
        wall_time_s=None if more.wall_time_s is None else time_s + more.wall_time_s,
        tokens=None if more.tokens is None else max(budget.tokens or 0, state.tokens) + more.tokens,
    )
    whole = extended(budget, [replace(request, answer=Answer.DONE, limits=limits)])
    reason = whole.spent(state.elapsed_s, state.tokens)
    if reason is not None:
        return _refused(request, f"no trial could start: {reason}")
    text = Limits(trials=whole.trials, wall_time_s=whole.wall_time_s, tokens=whole.tokens)
    return replace(_done(request, f"the budget is {text} now"), limits=limits)


def _done(request: ControlRequest, outcome: str) -> ControlRequest:
    return replace(request, answer=Answer.DONE, outcome=outcome)


def _refused(request: ControlRequest, outcome: str) -> ControlRequest:
    return replace(request, answer=Answer.REFUSED, outcome=outcome)


class Control:
    """The requests of one sweep in its driver.

    Attributes:
        paused: whether the sweep is paused.
        stopped: the trials that a user stopped, by number, each with the reason.
        budget: the budget of the sweep file with all extensions.
    """

    def __init__(
        self, requests: RequestLog, sweep_id: int, budget: Budget, timer: Callable[[], float], poll_s: float
    ) -> None:
        """Read the answered requests.

        Args:
            requests: requests of the ledger.
            sweep_id: the sweep.
            budget: budget of the sweep file.
            timer: monotonic seconds.
            poll_s: fewest seconds between two reads of new requests.
        """
        self._requests = requests
        self._sweep_id = sweep_id
        self._file_budget = budget
        self._timer = timer
        self._since = requests.held_since(sweep_id)
        self._poll_s = poll_s
        self._polled_at: float | None = None
        self._answered = [request for request in requests.all(sweep_id) if request.answer is not None]
        self._read_answers()

    def answer_new(self, state: Callable[[], SearchState], clock: Callable[[], float]) -> Iterator[ControlRequest]:
        """Commit the answer to each request without one and yield it; none within ``poll_s`` of the last read.

        The caller acts on an answer before it asks for the next one.
        """
        now = self._timer()
        if self._polled_at is not None and now - self._polled_at < self._poll_s:
            return
        self._polled_at = now
        for request in self._requests.unanswered(self._sweep_id):
            answered = judge(request, state(), self._answered, since=self._since, now=clock())
            self._requests.answer(self._sweep_id, answered)
            self._answered.append(answered)
            self._read_answers()
            yield answered

    @property
    def clones(self) -> list[ControlRequest]:
        """The accepted clones in their order."""
        return done(self._answered, ControlKind.CLONE)

    def _read_answers(self) -> None:
        self.paused = paused_by(self._answered) is not None
        self.stopped = stop_reasons(self._answered)
        self.budget = extended(self._file_budget, self._answered)
