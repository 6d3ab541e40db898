"""A pack on a GPU trains each trial as peft does, in 4 bits too."""

from tests import needs
from tests.training.packed.test_oracle import *

pytestmark = needs.cuda
