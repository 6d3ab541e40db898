"""Trials that cannot be told apart from the best on the same rows, and the choice among them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.metric import Direction
from orchestrator.statistics.intervals import Interval
from orchestrator.statistics.paired import PairedTest, holm, mcnemar


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedTrial:
    """A trial against the best.

    Attributes:
        trial: its number.
        difference: best less this trial, higher is better, with its interval (not adjusted).
        p_value: two-sided p-value of "equally good", adjusted by Holm over all compared trials.
    """

    trial: int
    difference: Interval
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ties:
    """The best trial and the trials that cannot be told apart from it.

    Attributes:
        best: number of the trial with the best score on the rows.
        tied: the trials not told apart from it, in the given order.
        worse: the others, in the given order.
        rows: number of rows; None: nothing was compared.
        alpha: level of the tests.
    """

    best: int
    tied: tuple[ComparedTrial, ...]
    worse: tuple[ComparedTrial, ...]
    rows: int | None
    alpha: float

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of the best and the tied trials."""
        return (self.best, *(each.trial for each in self.tied))

    @property
    def p_value(self) -> float | None:
        """The lowest adjusted p-value among the tied trials; None: no trial is tied."""
        return min((each.p_value for each in self.tied), default=None)


def tied_with_best(best: int, tests: Mapping[int, PairedTest], alpha: float = 0.05) -> Ties:
    """Return the trials that a paired test cannot tell apart from the best.

    The truly best trial is the best or tied with a probability of about 1 - alpha or more, although the same rows chose
    the best: for each fixed trial, the tests compare it with all others, and Holm's factor counts them (subset
    selection: Gupta 1965, Technometrics 7; Hsu 1984, Annals of Statistics 12). Of many equal trials one or another is
    called worse more often than that.

    Args:
        best: number of the trial with the best score on the rows.
        tests: the best as challenger against each other trial as champion, by the other's number.
        alpha: level of the tests in (0, 1).
    """
    adjusted = holm([test.p_differs for test in tests.values()])
    compared = [
        ComparedTrial(trial=trial, difference=test.difference, p_value=p_value)
        for (trial, test), p_value in zip(tests.items(), adjusted, strict=True)
    ]
    return Ties(
        best=best,
        tied=tuple(each for each in compared if each.p_value > alpha),
        worse=tuple(each for each in compared if each.p_value <= alpha),
        rows=next((test.rows for test in tests.values()), None),
        alpha=alpha,
    )


def accuracy_ties(trials: Sequence[int], correct_kn: NDArray[np.bool_], alpha: float = 0.05) -> Ties:
    """Return the trials that exact McNemar tests cannot tell apart from the one with the highest accuracy.

    Args:
        trials: numbers of the trials; of equal accuracies the first is the best.
        correct_kn: whether each trial classifies each row rightly.
        alpha: level of the tests in (0, 1).

    Raises:
        ValueError: there are no rows.
    """
    at = int(np.argmax(correct_kn.sum(axis=1)))
    others = [place for place in range(len(trials)) if place != at]
    tests = {trials[place]: mcnemar(correct_kn[at], correct_kn[place]) for place in others}
    return tied_with_best(trials[at], tests, alpha)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """A fact by which tied trials are ordered, such as ``rank`` or ``gap/loss``, and its better direction."""

    name: str
    direction: Direction = Direction.MINIMIZE


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """A fact that decided between tied trials.

    Attributes:
        name: name of the fact.
        value: value of the preferred trial.
        others: values of the trials which it left out, by trial; NaN: unknown.
    """

    name: str
    value: float
    others: Mapping[int, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferredTrial:
    """The trial preferred among equals.

    Attributes:
        trial: its number.
        reasons: the facts that decided, in their order; empty: its score decided.
    """

    trial: int
    reasons: tuple[Reason, ...]


def prefer(ties: Ties, facts: Mapping[int, Mapping[str, float]], order: Sequence[Preference]) -> PreferredTrial:
    """Return the trial preferred among the best and its ties.

    The first preference keeps the trials with its best value, the next one chooses among these, and so on. A trial
    without the fact is left out if another has it. Trials equal in all of them keep the order of ``ties.members``.

    Args:
        ties: the trials.
        facts: numbers by name, by trial.
        order: the most important preference first.
    """
    left = list(ties.members)
    reasons = []
    for preference in order:
        values = {trial: facts.get(trial, {}).get(preference.name, math.nan) for trial in left}
        known = [value for value in values.values() if not math.isnan(value)]
        if not known:
            continue
        best = min(known) if preference.direction is Direction.MINIMIZE else max(known)
        others = {trial: value for trial, value in values.items() if value != best}
        if others:
            reasons.append(Reason(name=preference.name, value=best, others=others))
        left = [trial for trial in left if trial not in others]
    return PreferredTrial(trial=left[0], reasons=tuple(reasons))
