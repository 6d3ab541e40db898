"""The solo engine fulfils the engines' contract on a GPU."""

from tests import needs
from tests.training.test_solo import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
