"""A pack on a GPU trains each trial as peft does, in 4 bits too."""

from tests import needs
from tests.training.packed.test_oracle import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
