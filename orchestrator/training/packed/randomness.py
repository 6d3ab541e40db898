"""A generator for each slot, and dropout that draws from it: masks depend on nothing but the trial's own rows."""

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from orchestrator.core.seeds import derive_seed
from orchestrator.training.packed.layout import current

if TYPE_CHECKING:
    from orchestrator.training.packed.layout import Layout

_LEVELS = 1 << 16


class SlotRandom:
    """One slot's random stream. 64 random bits make four masks of 16 bits: exact to 2**-17 in the probability."""

    def __init__(self, seed: int, lora_dropout: float, device: str) -> None:
        """Start the stream.

        Args:
            seed: the trial's.
            lora_dropout: share of the adapters' inputs that is dropped, in [0, 1).
            device: where masks are needed.
        """
        self.lora_dropout = lora_dropout
        self.generator = torch.Generator(device).manual_seed(derive_seed("dropout", seed))
        self._device = device

    def mask(self, count: int, share: float, dtype: torch.dtype) -> torch.Tensor:
        """Return ``count`` factors: zero with probability ``share``, else ``1 / (1 - share)``."""
        threshold = round(share * _LEVELS)
        words = torch.empty(math.ceil(count / 4), dtype=torch.int64, device=self._device)
        words.random_(-(2**63), None, generator=self.generator)
        keep = words.view(torch.int16)[:count] >= threshold - _LEVELS // 2
        return keep.to(dtype).mul_(_LEVELS / (_LEVELS - threshold))


def drop(values: torch.Tensor, share: float) -> torch.Tensor:
    """Return values (tokens or rows of all slots, in the leading dimensions) with a share of them dropped."""
    if share <= 0:
        return values
    layout = current()
    flat_ND = values.reshape(-1, values.shape[-1])
    width = flat_ND.shape[1]
    parts = [
        layout.random[slot].mask((part.stop - part.start) * width, share, values.dtype)
        for slot, part in layout.parts(flat_ND.shape[0])
    ]
    return values * torch.cat(parts).view(values.shape)


def lora_mask(layout: "Layout", count: int, width: int, dtype: torch.dtype) -> torch.Tensor | None:
    """Return the factors ``mask_NI`` for an adapter's input, each slot with its own share; None if all are one."""
    parts = layout.parts(count)
    if not any(slot in layout.random and layout.random[slot].lora_dropout > 0 for slot, _ in parts):
        return None
    mask_NI = torch.ones(count, width, dtype=dtype, device=layout.device)
    for slot, part in parts:
        random = layout.random[slot]
        if random.lora_dropout > 0:
            mask_NI[part] = random.mask((part.stop - part.start) * width, random.lora_dropout, dtype).view(-1, width)
    return mask_NI


class PackedDropout(nn.Module):
    """The base's own dropout: one share for all slots, a stream for each."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.p = share  # transformers' attention reads the share under torch's name

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values`` with a share ``p`` dropped while training."""
        return drop(values, self.p) if self.training else values
