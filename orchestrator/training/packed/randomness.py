"""A generator for each slot, and dropout that draws from it: masks depend on nothing but the trial's own rows."""

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from orchestrator.core.seeds import derive_seed
from orchestrator.training.packed.layout import current

if TYPE_CHECKING:
    from orchestrator.training.packed.layout import Layout

_LEVELS = 256


class SlotRandom:
    """One slot's random stream.

    A mask takes a byte: torch's own dropout draws a number for each element, which takes a quarter of a step's time.
    So a share is exact to 1/512, and what is kept is scaled by the share that was really used.
    """

    def __init__(self, seed: int, lora_dropout: float, device: str) -> None:
        """Start the stream.

        Args:
            seed: the trial's.
            lora_dropout: share of the adapters' inputs that is dropped, in [0, 1).
            device: where masks are needed.
        """
        self.lora_dropout = quantised(lora_dropout)
        self.generator = torch.Generator(device).manual_seed(derive_seed("dropout", seed))
        self._device = device

    def keep(self, out: torch.Tensor, share: float) -> None:
        """Fill ``out``, contiguous, with zeros with probability ``share``, which is quantised, and ones."""
        words = torch.empty(math.ceil(out.numel() / 8), dtype=torch.int64, device=self._device)
        words.random_(-(2**63), None, generator=self.generator)
        levels = words.view(torch.int8)[: out.numel()].view(out.shape)
        torch.ge(levels, round(share * _LEVELS) - _LEVELS // 2, out=out)


def quantised(share: float) -> float:
    """Return the share that is used for ``share``: a multiple of 1/256, below one."""
    return min(round(share * _LEVELS), _LEVELS - 1) / _LEVELS


def drop(values: torch.Tensor, share: float) -> torch.Tensor:
    """Return values (tokens or rows of all slots, in the leading dimensions) with a share of them dropped."""
    share = quantised(share)
    if share <= 0:
        return values
    layout = current()
    mask_ND = torch.empty(
        values.numel() // values.shape[-1], values.shape[-1], dtype=values.dtype, device=values.device
    )
    for slot, part in layout.parts(mask_ND.shape[0]):
        layout.random[slot].keep(mask_ND[part], share)
    return values * mask_ND.mul_(1.0 / (1.0 - share)).view(values.shape)


def kept(layout: "Layout", x_NI: torch.Tensor) -> "tuple[torch.Tensor | None, dict[int, float]]":
    """Return which inputs of an adapter are kept, ``kept_NI`` of zeros and ones, and the share dropped by slot.

    Not scaled: that is left to whoever multiplies by the adapter's own scale. None if nothing is dropped.
    """
    parts = layout.parts(x_NI.shape[0])
    shares = {slot: layout.random[slot].lora_dropout for slot, _ in parts}
    if not any(shares.values()):
        return None, {}
    kept_NI = torch.empty_like(x_NI)
    for slot, part in parts:
        if shares[slot]:
            layout.random[slot].keep(kept_NI[part], shares[slot])
        else:
            kept_NI[part] = 1.0
    return kept_NI, shares


class PackedDropout(nn.Module):
    """The base's own dropout: one share for all slots, a stream for each."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.p = share  # transformers' attention reads the share under torch's name

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values`` with a share ``p`` dropped while training."""
        return drop(values, self.p) if self.training else values
