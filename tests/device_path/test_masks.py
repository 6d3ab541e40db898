"""The masks of a device keep the contract, with the kernel's oracle in its place."""

from tests.contracts.mask_contract import MaskContract


class TestMasks(MaskContract):
    """The masks of a device."""
