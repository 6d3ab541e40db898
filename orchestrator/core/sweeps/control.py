"""Requests of a user to a sweep: stop or clone a trial, pause, resume or extend the sweep.

A request is stored first. The driver answers each request once, in their order, and stores the answer before it acts.
The functions here read answered requests only, so they give the same results after any kill.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.core.space import ParamValue, format_value
from orchestrator.core.sweeps.policy import Budget

BY_REQUEST = "stopped by "
"""Prefix of the reason of a trial stopped by a user."""


class ControlKind(enum.StrEnum):
    """What a user asks for."""

    STOP = "stop"
    CLONE = "clone"
    PAUSE = "pause"
    RESUME = "resume"
    EXTEND = "extend"


class Answer(enum.StrEnum):
    """The driver's answer to a request."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Amounts of a budget: trials, seconds of wall time, training tokens. None: no change of this limit."""

    trials: int | None = None
    wall_time_s: float | None = None
    tokens: int | None = None

    def __str__(self) -> str:
        parts = [f"{self.trials:,} trial{'s' if self.trials != 1 else ''}"] if self.trials is not None else []
        parts += [f"{self.wall_time_s / 60:g} min"] if self.wall_time_s is not None else []
        parts += [f"{self.tokens:,} tokens"] if self.tokens is not None else []
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlRequest:
    """One request and its answer.

    Attributes:
        id: the ledger's key; requests are answered in this order.
        by: who asked, as ``user@host``.
        at: when, in seconds since the epoch.
        reason: why; None: not given.
        trial: the trial to stop or to clone.
        params: all values of a clone.
        more: what an extension adds to the budget.
        answer: None: the driver has not answered yet.
        outcome: the effect, or the reason for the refusal, in words.
        answered_at: when, in seconds since the epoch.
        clone: number of the new trial.
        limits: the budget's limits after an extension.
    """

    id: int
    kind: ControlKind
    by: str
    at: float
    reason: str | None = None
    trial: int | None = None
    params: Mapping[str, ParamValue] | None = None
    more: Limits = field(default_factory=Limits)
    answer: Answer | None = None
    outcome: str | None = None
    answered_at: float | None = None
    clone: int | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def text(self) -> str:
        """What is asked for, in words: ``stop trial 3``."""
        match self.kind:
            case ControlKind.STOP:
                return f"stop trial {self.trial}"
            case ControlKind.CLONE:
                values = ", ".join(f"{name}={format_value(value)}" for name, value in (self.params or {}).items())
                return f"clone trial {self.trial} with {values}"
            case ControlKind.EXTEND:
                return f"extend by {self.more}"
        return self.kind.value

    @property
    def author(self) -> str:
        """Who asked, and why: ``anna@lab: too slow``."""
        return self.by if self.reason is None else f"{self.by}: {self.reason}"

    def to_json(self) -> dict[str, object]:
        """Return the request and its answer as plain values, for ``--json``."""
        return {
            "id": self.id,
            "kind": self.kind.value,
            "text": self.text,
            "by": self.by,
            "at": self.at,
            "reason": self.reason,
            "trial": self.trial,
            "params": None if self.params is None else dict(self.params),
            "answer": None if self.answer is None else self.answer.value,
            "outcome": self.outcome,
            "answered_at": self.answered_at,
            "clone": self.clone,
        }

    @property
    def origin(self) -> str:
        """The origin of a clone: ``clone of trial 3, asked for by anna@lab: lower rate``."""
        return f"clone of trial {self.trial}, asked for by {self.author}"

    @property
    def sentence(self) -> str:
        """The request with its answer: ``stop trial 3 (anna@lab: too slow): it stops at its next report``."""
        return f"{self.text} ({self.author}): {self.answer_text}"

    @property
    def answer_text(self) -> str:
        """The answer in words."""
        if self.answer is None:
            return "not answered yet"
        return f"refused: {self.outcome}" if self.answer is Answer.REFUSED else str(self.outcome)


def done(requests: Iterable[ControlRequest], *kinds: ControlKind) -> list[ControlRequest]:
    """Return the requests of these kinds with the answer DONE."""
    return [request for request in requests if request.kind in kinds and request.answer is Answer.DONE]


def paused_by(requests: Iterable[ControlRequest]) -> ControlRequest | None:
    """Return the request that paused the sweep; None if the sweep is not paused."""
    newest = next(reversed(done(requests, ControlKind.PAUSE, ControlKind.RESUME)), None)
    return None if newest is None or newest.kind is ControlKind.RESUME else newest


def stop_reasons(requests: Iterable[ControlRequest]) -> dict[int, str]:
    """Return the reason of the end of each trial that a user stopped, by its number."""
    stops = done(requests, ControlKind.STOP)
    return {stop.trial: f"{BY_REQUEST}{stop.author}" for stop in stops if stop.trial is not None}


def extended(budget: Budget, requests: Iterable[ControlRequest]) -> Budget:
    """Return the budget of the sweep file, each limit raised to the largest limit of an extension.

    A limit absent from the sweep file stays absent.
    """
    for request in done(requests, ControlKind.EXTEND):
        limits = request.limits
        if budget.trials is not None and limits.trials is not None:
            budget = replace(budget, trials=max(budget.trials, limits.trials))
        if budget.wall_time_s is not None and limits.wall_time_s is not None:
            budget = replace(budget, wall_time_s=max(budget.wall_time_s, limits.wall_time_s))
        if budget.tokens is not None and limits.tokens is not None:
            budget = replace(budget, tokens=max(budget.tokens, limits.tokens))
    return budget
