"""Ties with the best trial, and the preferred one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.metric import Direction
from orchestrator.statistics.paired import mcnemar
from orchestrator.statistics.ties import Preference, accuracy_ties, prefer

RANK, GAP = Preference(name="rank"), Preference(name="gap/loss")


def outcomes(draw: np.random.Generator, truths: list[float], rows: int) -> np.ndarray:
    return draw.random((len(truths), rows)) < np.array(truths)[:, None]


def test_close_trials_are_tied() -> None:
    correct = np.arange(1500) < np.array([[1350], [750], [1345]])
    ties = accuracy_ties([0, 17, 15], correct)
    assert ties.members == (0, 15)
    assert [each.trial for each in ties.worse] == [17]
    assert ties.rows == 1500
    assert ties.p_value == ties.tied[0].p_value == pytest.approx(mcnemar(correct[0], correct[2]).p_differs)


def test_clear_winner_has_no_ties() -> None:
    ties = accuracy_ties([4, 2], outcomes(np.random.default_rng(0), [0.5, 0.9], 500))
    assert (ties.members, ties.p_value) == ((2,), None)
    assert ties.worse[0].difference.value > 0.3


def test_single_trial_is_the_best() -> None:
    ties = accuracy_ties([3], np.ones((1, 10), dtype=bool))
    assert (ties.members, ties.rows) == ((3,), None)


@given(st.integers(0, 2**32 - 1))
def test_order_of_rows_does_not_matter(seed: int) -> None:
    draw = np.random.default_rng(seed)
    correct = outcomes(draw, [0.8, 0.7, 0.6, 0.8], 60)
    assert accuracy_ties(range(4), correct) == accuracy_ties(range(4), correct[:, draw.permutation(60)])


@given(st.integers(0, 2**32 - 1))
def test_higher_level_ties_fewer_trials(seed: int) -> None:
    correct = outcomes(np.random.default_rng(seed), [0.8, 0.75, 0.6, 0.7], 200)
    strict, lenient = accuracy_ties(range(4), correct, 0.01), accuracy_ties(range(4), correct, 0.2)
    assert set(lenient.members) <= set(strict.members)


def test_true_best_is_among_the_ties() -> None:
    draw = np.random.default_rng(0)
    found = [0 in accuracy_ties(range(10), outcomes(draw, [0.801, *[0.8] * 9], 300)).members for _ in range(300)]
    assert np.mean(found) >= 0.93


def test_preferences_decide_in_their_order() -> None:
    ties = accuracy_ties([0, 17, 15], np.ones((3, 100), dtype=bool))
    facts = {0: {"rank": 32, "gap/loss": 0.1}, 17: {"rank": 4, "gap/loss": 0.2}, 15: {"rank": 4, "gap/loss": 0.3}}
    choice = prefer(ties, facts, [RANK, GAP])
    assert choice.trial == 17
    assert [(each.name, each.value, dict(each.others)) for each in choice.reasons] == [
        ("rank", 4, {0: 32}),
        ("gap/loss", 0.2, {15: 0.3}),
    ]
    assert prefer(ties, facts, [GAP, RANK]).trial == 0
    assert prefer(ties, facts, [Preference(name="rank", direction=Direction.MAXIMIZE)]).trial == 0


def test_score_decides_between_equal_facts() -> None:
    ties = accuracy_ties([5, 1], np.ones((2, 100), dtype=bool))
    choice = prefer(ties, {5: {"rank": 4}, 1: {"rank": 4}}, [RANK, GAP])
    assert (choice.trial, choice.reasons) == (5, ())


def test_trial_without_fact_is_left_out() -> None:
    ties = accuracy_ties([5, 1], np.ones((2, 100), dtype=bool))
    choice = prefer(ties, {1: {"rank": 64}}, [RANK])
    assert choice.trial == 1
    assert math.isnan(choice.reasons[0].others[5])
