"""A generator for each slot, and dropout that draws from it: masks depend on nothing but the trial's own rows.

A mask is an integer tensor as wide as the values it is for, all bits set where a value is kept: dropping is an ``and``
of bits, the cheapest operation there is. What is kept is scaled by whoever has a product to scale anyway.
"""

import math
from collections.abc import Container
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from orchestrator.core.seeds import derive_seed
from orchestrator.training.packed.layout import current

if TYPE_CHECKING:
    from orchestrator.training.packed.layout import Layout

_LEVELS = 256
_BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


class SlotRandom:
    """One slot's random stream: numpy's SFC64 on a CPU, the device's own elsewhere.

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
        seed = derive_seed("dropout", seed)
        self._host = np.random.SFC64(seed) if device == "cpu" else None
        self._device = None if device == "cpu" else torch.Generator(device).manual_seed(seed)

    def keep(self, out: torch.Tensor, share: float) -> None:
        """Fill ``out``, contiguous integers, with zeros with probability ``share``, which is quantised, or set bits."""
        words, cut = math.ceil(out.numel() / 8), round(share * _LEVELS)
        if self._host is not None:
            levels_N = self._host.random_raw(words).view(np.uint8)[: out.numel()]
            kept_N = np.greater_equal(levels_N, cut).view(np.int8)
            out.view(-1).copy_(torch.from_numpy(np.negative(kept_N, out=kept_N)))  # torch widens faster than numpy
            return
        levels = torch.empty(words, dtype=torch.int64, device=out.device)
        levels.random_(-(2**63), None, generator=self._device)
        bits = levels.view(torch.uint8)[: out.numel()].view(out.shape) >= cut
        torch.neg(bits.to(out.dtype), out=out)

    def state(self) -> torch.Tensor:
        """Return where the stream stands."""
        if self._device is not None:
            return self._device.get_state()
        return torch.from_numpy(self._sfc64()["state"]["state"].view(np.int64).copy())

    def restore(self, state: torch.Tensor) -> None:
        """Go on from where a stream stood."""
        if self._device is not None:
            self._device.set_state(state)
            return
        whole = self._sfc64()
        whole["state"]["state"] = state.numpy().view(np.uint64)
        assert self._host is not None
        self._host.state = whole

    def _sfc64(self) -> Any:  # noqa: ANN401  (numpy's own dictionary)
        assert self._host is not None
        return self._host.state


def quantised(share: float) -> float:
    """Return the share that is used for ``share``: a multiple of 1/256, below one."""
    return min(round(share * _LEVELS), _LEVELS - 1) / _LEVELS


def new_mask(values: torch.Tensor, *shape: int) -> torch.Tensor:
    """Return an unfilled mask for values of this type, of this shape or the values' own."""
    return torch.empty(shape or values.shape, dtype=_BITS[values.dtype], device=values.device)


def masked(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return values where the mask keeps them, and zeros."""
    return (values.view(mask.dtype) & mask).view(values.dtype)


def masked_(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Set values to zero where the mask drops them, and return them."""
    values.view(mask.dtype).bitwise_and_(mask)
    return values


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:  # noqa: ANN401
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return masked(values, mask).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        (mask,) = ctx.saved_tensors
        return masked(gradients[0].contiguous(), mask).mul_(ctx.scale), None, None


def drop(values: torch.Tensor, share: float) -> torch.Tensor:
    """Return values (tokens or rows of all slots, in the leading dimensions) with a share of them dropped."""
    share = quantised(share)
    if share <= 0:
        return values
    layout, values = current().of(values), values.contiguous()
    mask_ND = new_mask(values, values.numel() // values.shape[-1], values.shape[-1])
    for slot, part in layout.parts(mask_ND.shape[0]):
        layout.random[slot].keep(mask_ND[part], share)
    return _Drop.apply(values, mask_ND.view(values.shape), 1.0 / (1.0 - share))  # type: ignore[no-any-return, no-untyped-call]


def kept(
    layout: "Layout", x_NI: torch.Tensor, adapted: Container[int]
) -> "tuple[torch.Tensor | None, dict[int, float]]":
    """Return the mask of an adapter's inputs, and the share dropped by slot; None if nothing is dropped.

    Scaling what is kept is left to whoever multiplies by the adapter's own scale. Slots that do not adapt the layer
    draw nothing: it may have been opened for a neighbour.
    """
    parts = layout.parts(x_NI.shape[0])
    shares = {slot: layout.random[slot].lora_dropout if slot in adapted else 0.0 for slot, _ in parts}
    if not any(shares.values()):
        return None, {}
    mask_NI = new_mask(x_NI)
    for slot, part in parts:
        if shares[slot]:
            layout.random[slot].keep(mask_NI[part], shares[slot])
        else:
            mask_NI[part] = -1
    return mask_NI, shares


class PackedDropout(nn.Module):
    """The base's own dropout: one share for all slots, a stream for each."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.p = share  # transformers' attention reads the share under torch's name

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values`` with a share ``p`` dropped while training."""
        return drop(values, self.p) if self.training else values
