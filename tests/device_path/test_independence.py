"""A trial does not depend on its neighbours where one kernel draws for all of them."""

from tests.training.packed.test_independence import alone, test_neighbours_change_nothing, world  # noqa: F401
