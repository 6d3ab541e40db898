"""Out of memory, the number of slots is halved for good, and idle trials give theirs to the trials that train."""

import pytest

from orchestrator.training.packed.limits.headroom import Headroom

NO_MEMORY = MemoryError()


def test_every_trial_is_admitted_while_memory_suffices() -> None:
    headroom = Headroom()
    assert headroom.admitted(range(8), []) == [*range(8)]
    assert headroom.surplus(range(8), [0]) == []


def test_bound_is_halved_and_never_rises() -> None:
    headroom = Headroom()
    assert headroom.shrink(NO_MEMORY, 4)
    assert headroom.shrink(NO_MEMORY, 8)
    assert len(headroom.admitted(range(8), [])) == 2


@pytest.mark.parametrize(("error", "trials"), [(NO_MEMORY, 1), (RuntimeError("a shape is wrong"), 8)])
def test_single_trial_and_other_errors_do_not_shrink(error: Exception, trials: int) -> None:
    headroom = Headroom()
    assert not headroom.shrink(error, trials)
    assert len(headroom.admitted(range(8), [])) == 8


def test_trials_with_a_slot_are_admitted_first() -> None:
    headroom = Headroom()
    headroom.shrink(NO_MEMORY, 4)
    assert headroom.admitted(range(8), [5, 6]) == [5, 6]


def test_idle_trials_give_up_slots() -> None:
    headroom = Headroom()
    headroom.shrink(NO_MEMORY, 8)
    assert headroom.surplus([0, 1, 2, 3], [4, 5]) == [0, 1]
    assert headroom.surplus([0, 1, 4, 5], [4, 5]) == []
