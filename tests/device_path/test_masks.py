"""What a device drops of a trial's values is the same whatever stands beside them."""

from tests.training.packed.test_masks import test_neighbours_with_longer_rows_change_no_mask  # noqa: F401
