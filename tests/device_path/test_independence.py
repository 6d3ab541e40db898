"""A trial does not depend on its neighbours where one kernel draws for all of them."""

from tests.training.packed.test_independence import *  # noqa: F403  (its tests and fixtures, as they are)
