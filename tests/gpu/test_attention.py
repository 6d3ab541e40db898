"""Fused attention equals plain products on a GPU."""

from tests import needs
from tests.training.packed.test_attention import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
