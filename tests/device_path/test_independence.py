"""A trial trains identically beside any neighbours with one dropout kernel for all slots."""

from tests.training.packed.test_independence import (
    alone,
    test_diverged_trial_leaves_others_unchanged,
    test_neighbours_change_nothing,
    test_trial_resumes_identically_in_another_slot,
    world,
)
