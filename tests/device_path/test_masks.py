"""The masks of a device fulfil the contract, with an oracle in place of the kernel."""

from tests.contracts.mask_contract import MaskContract


class TestMasks(MaskContract):
    """The masks of a device."""
