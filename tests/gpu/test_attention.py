"""Fused attention equals plain attention on a GPU."""

from tests import needs
from tests.training.packed.test_attention import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
