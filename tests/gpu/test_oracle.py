"""A pack on a GPU computes for each trial the same as peft alone, with 4-bit weights too."""

from tests import needs
from tests.training.packed.test_oracle import *

pytestmark = needs.cuda
