"""A trial is independent of its neighbours when one kernel draws the masks of all slots."""

from tests.training.packed.test_independence import (
    alone,
    test_a_broken_trial_is_told_and_the_others_go_on,
    test_a_trial_goes_on_in_another_slot_beside_others_as_it_would_have,
    test_neighbours_change_nothing,
    world,
)
