"""The stopping rules by name: the rungs of each bracket, and the trials stopped at a rung.

A rule compares keys, not metrics: whether the trial is outside the constraints, then one number, smaller is better,
infinity for NaN. Tied trials all continue, so no decision depends on the order of arrival or on a trial's number.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.core.sweeps.policy import StoppingName, StoppingPolicy
from orchestrator.search.stopping.points import rungs

Key: TypeAlias = tuple[bool, float]

SelectTrialsToStop: TypeAlias = Callable[[Sequence[Key], Mapping[int, Key]], Mapping[int, str]]
"""Takes the keys of all trials at a rung, ascending, and the keys of the undecided trials by number. The undecided keys
are also among all keys. Returns the numbers of the stopped trials, each with the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule for one sweep.

    Attributes:
        brackets: rungs by bracket, in nominal samples; trials are compared within their bracket only.
        bracket_of: bracket by trial number modulo the length of the tuple.
        cohort: fewest values at a rung for the first decision.
        trials_to_stop: returns the trials to stop.
    """

    brackets: tuple[tuple[int, ...], ...]
    bracket_of: tuple[int, ...]
    cohort: int
    trials_to_stop: SelectTrialsToStop

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial."""
        return self.bracket_of[number % len(self.bracket_of)]


def build_rule(policy: StoppingPolicy, points: Sequence[int]) -> Rule:
    """Return the policy's rule for these report points."""
    return _BUILDERS[policy.rule](policy, points)


def compared_at(policy: StoppingPolicy, points: Sequence[int]) -> tuple[int, ...]:
    """Return the report points at which the policy's rule compares trials, ascending."""
    return tuple(sorted({rung for bracket in build_rule(policy, points).brackets for rung in bracket}))


def _asha(policy: StoppingPolicy, points: Sequence[int]) -> Rule:
    """ASHA's stopping variant (Li et al. 2020, arXiv 1810.05934). The cohort lets the first trials be compared too."""
    factor = policy.reduction_factor
    return Rule(
        brackets=(rungs(points, policy.grace_samples, factor),),
        bracket_of=(0,),
        cohort=policy.cohort or factor,
        trials_to_stop=_outside_top(factor),
    )


def _hyperband(policy: StoppingPolicy, points: Sequence[int]) -> Rule:
    """Hyperband (Li et al. 2018, arXiv 1603.06560): brackets of ASHA, each with a longer grace than the one before.

    Trials are distributed over brackets in the paper's proportions: of s + 1 brackets, the one with the k-th longest
    grace gets ceil((s + 1) / k · factor^(k - 1)) trials of every round.
    """
    factor = policy.reduction_factor
    ladder = rungs(points, policy.grace_samples, factor)
    count = max(len(ladder), 1)
    shares = tuple(-(-count * factor ** (left - 1) // left) for left in range(count, 0, -1))
    return Rule(
        brackets=tuple(ladder[first:] for first in range(count)),
        bracket_of=_distribute(shares),
        cohort=policy.cohort or factor,
        trials_to_stop=_outside_top(factor),
    )


def _median(policy: StoppingPolicy, points: Sequence[int]) -> Rule:
    """Vizier's median rule (Golovin et al. 2017), on best values so far at exactly the same report point.

    Of two middle values the worse one is the median: with their mean, rounding could decide.
    """
    grace = policy.grace_samples or points[0]
    ladder = tuple(point for point in points[:-1] if point >= grace)
    return Rule(brackets=(ladder,), bracket_of=(0,), cohort=policy.cohort or 3, trials_to_stop=_worse_than_median)


def _none(_policy: StoppingPolicy, _points: Sequence[int]) -> Rule:
    return Rule(brackets=((),), bracket_of=(0,), cohort=1, trials_to_stop=lambda _keys, _undecided: {})


_BUILDERS: dict[StoppingName, Callable[[StoppingPolicy, Sequence[int]], Rule]] = {
    StoppingName.ASHA: _asha,
    StoppingName.HYPERBAND: _hyperband,
    StoppingName.MEDIAN: _median,
    StoppingName.NONE: _none,
}


def _outside_top(factor: int) -> SelectTrialsToStop:
    def trials_to_stop(keys: Sequence[Key], undecided: Mapping[int, Key]) -> Mapping[int, str]:
        kept = max(1, len(keys) // factor)
        bar = keys[kept - 1]
        return {number: f"not among the best {kept} of {len(keys)}" for number, key in undecided.items() if key > bar}

    return trials_to_stop


def _worse_than_median(keys: Sequence[Key], undecided: Mapping[int, Key]) -> Mapping[int, str]:
    others = len(keys) - 1
    stopped = {}
    for number, key in undecided.items():
        middle = others // 2  # the worse of two middle positions among the others
        middle += middle >= bisect_left(keys, key)
        if others and key > keys[middle]:
            stopped[number] = f"worse than the median of {others} others"
    return stopped


def _distribute(shares: Sequence[int]) -> tuple[int, ...]:
    """Return one round of brackets: each bracket as often as its share, spread evenly over the round.

    In every step each bracket gains its share of credit; the bracket with most credit (the first of equals) is next and
    pays ``total``.
    """
    total = sum(shares)
    credit = [0] * len(shares)
    order = []
    for _ in range(total):
        credit = [have + share for have, share in zip(credit, shares, strict=True)]
        richest = max(range(len(shares)), key=lambda bracket: credit[bracket])
        credit[richest] -= total
        order.append(richest)
    return tuple(order)
