"""Grouped products equal looped products on a GPU."""

from tests import needs
from tests.training.packed.layers.test_products import *

pytestmark = needs.cuda
