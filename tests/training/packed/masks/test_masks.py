"""The masks of a CPU keep the contract; those of a device do in ``tests/device_path`` and ``tests/gpu``."""

from tests.contracts.mask_contract import MaskContract


class TestMasks(MaskContract):
    """The masks of a CPU."""
