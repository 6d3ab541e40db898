"""Fused attention equals plain products on a GPU."""

from tests import needs
from tests.training.packed.test_attention import *

pytestmark = needs.cuda
