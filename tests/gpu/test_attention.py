"""Fused attention gives on a GPU what plain products give."""

from tests import needs
from tests.training.packed.test_attention import *  # noqa: F403  (its tests and fixtures, as they are)

pytestmark = needs.cuda
