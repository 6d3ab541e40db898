"""The dropout masks of a device are independent of the neighbours."""

from tests.training.packed.test_masks import test_masks_are_independent_of_neighbours  # noqa: F401
