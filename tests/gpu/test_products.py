"""Grouped products equal looped products on a GPU."""

from tests import needs
from tests.training.packed.test_products import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
