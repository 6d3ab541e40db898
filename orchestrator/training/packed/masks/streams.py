"""The random stream of each slot, from which its dropout masks are drawn."""

import logging
import math

import numpy as np
import torch

from orchestrator.core.seeds import derive_seed

logger = logging.getLogger(__name__)

LEVELS = 256
"""Drop probabilities are multiples of 1 / LEVELS: one random byte decides on one value."""


class DropoutStream:
    """The random stream of one slot: numpy's SFC64 on a CPU, a count of forwards on a device.

    A mask takes one random byte per value. torch's own dropout draws a number per value, which takes a quarter of a
    step's time.

    Attributes:
        seed: seed of the stream, in [0, 2^31).
        lora_drop_prob: drop probability of the adapters' inputs, quantised.
        forwards: forwards in training so far; counted on a device only.
    """

    def __init__(self, seed: int, lora_drop_prob: float, device: str) -> None:
        """Start the stream.

        Args:
            seed: the trial's.
            lora_drop_prob: drop probability of the adapters' inputs, in [0, 1).
            device: device of the masks.
        """
        self.lora_drop_prob = quantise_drop_prob(lora_drop_prob)
        self.seed = derive_seed("dropout", seed)
        self.forwards = 0
        self._host = np.random.SFC64(self.seed) if device == "cpu" else None

    def fill_bits(self, out: torch.Tensor, drop_prob: float) -> None:
        """Fill ``out``, integers, with 0 (all bits clear) at probability ``drop_prob`` and else −1 (all bits set).

        Args:
            out: on the CPU, any shape.
            drop_prob: quantised.
        """
        assert self._host is not None, "bits are drawn on a CPU"
        words, threshold = math.ceil(out.numel() / 8), round(drop_prob * LEVELS)
        levels = self._host.random_raw(words).view(np.uint8)[: out.numel()]
        keep = np.greater_equal(levels, threshold).view(np.int8)
        bits = torch.from_numpy(np.negative(keep, out=keep))
        out.copy_(bits.view(out.shape))  # torch widens faster than numpy

    def state(self) -> torch.Tensor:
        """Return the state of the stream, int64: four words on a CPU, the number of forwards on a device."""
        if self._host is None:
            return torch.tensor([self.forwards])
        return torch.from_numpy(self._host.state["state"]["state"].view(np.int64).copy())

    def restore(self, state: torch.Tensor) -> None:
        """Continue from a saved state. A state from another kind of device is ignored, with a warning."""
        current = self.state()
        if (state.shape, state.dtype) != (current.shape, current.dtype):
            logger.warning("the checkpoint was written on another kind of device: dropout continues with a new stream")
            return
        if self._host is None:
            self.forwards = int(state[0])
            return
        whole = self._host.state
        whole["state"]["state"] = state.numpy().view(np.uint64)
        self._host.state = whole


def quantise_drop_prob(drop_prob: float) -> float:
    """Return the multiple of 1 / 256 below 1 nearest to ``drop_prob``: the probability in use."""
    return min(round(drop_prob * LEVELS), LEVELS - 1) / LEVELS
