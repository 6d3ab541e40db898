"""A trial on a GPU is independent of its neighbours, with dropout in the base model too."""

from tests import needs
from tests.training.packed.test_independence import *

pytestmark = needs.cuda
