"""What a device drops of a trial's values is the same whatever stands beside them."""

from tests.training.packed.test_masks import test_masks_are_independent_of_neighbours  # noqa: F401
