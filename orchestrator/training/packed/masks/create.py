"""The choice between the masks of a CPU and the masks of a device."""

from collections.abc import Mapping

from orchestrator.training.packed.masks.device import DeviceMasks
from orchestrator.training.packed.masks.dropout_masks import DropoutMasks, HostMasks
from orchestrator.training.packed.masks.streams import DropoutStream


def create_masks(streams: Mapping[int, DropoutStream], device: str) -> DropoutMasks:
    """Return the masks of one forward in training.

    Args:
        streams: by slot, in the order of the slots' rows.
        device: device of the forward.
    """
    return HostMasks(streams) if device == "cpu" else DeviceMasks(streams, device)
