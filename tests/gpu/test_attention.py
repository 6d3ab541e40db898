"""Fused attention equals plain attention on a GPU."""

from tests import needs
from tests.training.packed.layers.test_attention import *

pytestmark = needs.cuda
