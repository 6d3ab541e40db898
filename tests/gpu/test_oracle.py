"""What a pack computes on a GPU for a trial is what peft computes there for it alone; over 4 bits too."""

from tests import needs
from tests.training.packed.test_oracle import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
