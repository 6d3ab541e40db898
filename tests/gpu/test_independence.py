"""A trial on a GPU does not depend on its neighbours, the base's own dropout included."""

from tests import needs
from tests.training.packed.test_independence import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
