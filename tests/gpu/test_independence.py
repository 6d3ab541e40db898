"""A trial on a GPU is independent of its neighbours, with dropout in the base model too."""

from tests import needs
from tests.training.packed.test_independence import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
