"""A random stream for each slot, and dropout that draws from it: masks depend on nothing but the trial's own rows.

On a CPU a slot draws bits from a generator of its own, in the order in which its forwards need them; on a device they
are computed from counters (``device_draws``). What is kept is scaled by whoever has a product to scale anyway.
"""

import logging
import math
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn

from orchestrator.core.seeds import derive_seed
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.layout.blocks import current

if TYPE_CHECKING:
    from orchestrator.training.packed.layout.blocks import Block, Layout

logger = logging.getLogger(__name__)

LEVELS = 256
MODULES = 2**16
"""Modules of a base, at most; one that is used again in a forward draws as another site."""
_BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


class DropoutStream:
    """One slot's random stream: numpy's SFC64 on a CPU, a count of its forwards elsewhere.

    A mask takes a byte: torch's own dropout draws a number for each element, which takes a quarter of a step's time.
    So a share is exact to 1/512, and what is kept is scaled by the share that was really used.

    Attributes:
        seed: of the stream, in [0, 2^31).
        lora_dropout: share of the adapters' inputs that is dropped, quantised.
        forwards: how many the slot has made in training; counted on a device alone.
    """

    def __init__(self, seed: int, lora_dropout: float, device: str) -> None:
        """Start the stream.

        Args:
            seed: the trial's.
            lora_dropout: share of the adapters' inputs that is dropped, in [0, 1).
            device: where masks are needed.
        """
        self.lora_dropout = quantise_drop_prob(lora_dropout)
        self.seed = derive_seed("dropout", seed)
        self.forwards = 0
        self._host = np.random.SFC64(self.seed) if device == "cpu" else None

    def bits(self, out: torch.Tensor, share: float) -> None:
        """Fill ``out``, integers, with zeros with probability ``share``, which is quantised, or set bits."""
        assert self._host is not None, "bits are drawn on a CPU"
        words, cut = math.ceil(out.numel() / 8), round(share * LEVELS)
        levels_N = self._host.random_raw(words).view(np.uint8)[: out.numel()]
        kept_N = np.greater_equal(levels_N, cut).view(np.int8)
        bits = torch.from_numpy(np.negative(kept_N, out=kept_N))
        out.copy_(bits.view(out.shape))  # torch widens faster than numpy

    def state(self) -> torch.Tensor:
        """Return where the stream stands."""
        if self._host is None:
            return torch.tensor([self.forwards])
        return torch.from_numpy(self._sfc64()["state"]["state"].view(np.int64).copy())

    def restore(self, state: torch.Tensor) -> None:
        """Go on from where a stream stood; a new one begins where the state is of another kind of device."""
        own = self.state()
        if (state.shape, state.dtype) != (own.shape, own.dtype):
            logger.warning("the checkpoint was written on another kind of device: its dropout goes on with new draws")
            return
        if self._host is None:
            self.forwards = int(state[0])
            return
        whole = self._sfc64()
        whole["state"]["state"] = state.numpy().view(np.uint64)
        self._host.state = whole

    def _sfc64(self) -> Any:  # noqa: ANN401  (numpy's own dictionary)
        assert self._host is not None
        return self._host.state


def quantise_drop_prob(share: float) -> float:
    """Return the share that is used for ``share``: a multiple of 1/256, below one."""
    return min(round(share * LEVELS), LEVELS - 1) / LEVELS


class Mask(Protocol):
    """Which values of a tensor of one shape are kept; the same at every use."""

    def of(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """Return the values that are kept, times ``scale``, and zeros, as a new tensor."""

    def of_(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """Do that to ``values``, contiguous, and return them."""


class DropoutMasks(Protocol):
    """What the slots of one forward draw.

    Attributes:
        shares: of the adapters' inputs that are dropped, by slot.
    """

    shares: Mapping[int, float]

    def rows(
        self, layout: "Layout", values: torch.Tensor, share: float | None, site: int, among: Container[int] | None
    ) -> Mask:
        """Return the mask of values that are laid out.

        Args:
            layout: of the values.
            values: tokens or rows of all slots, in the leading dimensions.
            share: that is dropped, quantised; None: each slot's own share of adapters' inputs.
            site: the place in the model that asks.
            among: slots that drop something; None: all.
        """

    def weights(self, block: "Block", values_CTS: torch.Tensor, share: float, site: int) -> Mask:
        """Return the mask of a block's attention weights, rows and heads in the leading dimension."""


class BitMask:
    """A mask as integers as wide as the values, all bits set where one is kept: dropping is an ``and`` of bits.

    The cheapest operation that a CPU has for it.
    """

    def __init__(self, bits: torch.Tensor) -> None:
        self._bits = bits

    def of(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """See ``Mask.of``."""
        kept = (values.view(self._bits.dtype) & self._bits).view(values.dtype)
        return kept if scale == 1.0 else kept.mul_(scale)

    def of_(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """See ``Mask.of_``."""
        values.view(self._bits.dtype).bitwise_and_(self._bits)
        return values if scale == 1.0 else values.mul_(scale)


class HostMasks:
    """DropoutMasks from each slot's own generator, for a CPU."""

    def __init__(self, random: Mapping[int, DropoutStream]) -> None:
        self._random = random
        self.shares: Mapping[int, float] = {slot: each.lora_dropout for slot, each in random.items()}

    def rows(
        self,
        layout: "Layout",
        values: torch.Tensor,
        share: float | None,
        site: int,  # noqa: ARG002  (the order in which a slot's forward asks says which draw it is)
        among: Container[int] | None,
    ) -> Mask:
        """See ``DropoutMasks.rows``. Slots that drop nothing draw nothing: a layer may have been opened for a neighbour."""
        bits_ND = _unfilled(values).view(-1, values.shape[-1])
        count, width = bits_ND.shape
        padded = layout.padded(count)
        for block, (_, part) in zip(layout.blocks, layout.parts(count), strict=True):
            own, bits = self._random[block.slot].lora_dropout if share is None else share, bits_ND[part]
            drops = own and (among is None or block.slot in among)
            if padded or not drops:
                bits.fill_(-1)
            if padded:  # a neighbour's rows may be longer: nothing of the trial stands there
                bits = bits.view(block.num_rows, -1, width)[:, : block.length]
            if drops:
                self._random[block.slot].bits(bits, own)
        return BitMask(bits_ND.view(values.shape))

    def weights(self, block: "Block", values_CTS: torch.Tensor, share: float, site: int) -> Mask:  # noqa: ARG002
        """See ``DropoutMasks.weights``."""
        bits_CTS = _unfilled(values_CTS)
        self._random[block.slot].bits(bits_CTS, share)
        return BitMask(bits_CTS)


def _unfilled(values: torch.Tensor) -> torch.Tensor:
    return torch.empty(values.shape, dtype=_BITS[values.dtype], device=values.device)


def create_masks(random: Mapping[int, DropoutStream], device: str) -> DropoutMasks:
    """Return what slots draw in a forward, from their streams, in the order of their rows."""
    from orchestrator.training.packed.masks.device import DeviceMasks

    return HostMasks(random) if device == "cpu" else DeviceMasks(random, device)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, mask: Mask, scale: float) -> torch.Tensor:  # noqa: ANN401
        ctx.mask, ctx.scale = mask, scale
        return mask.of(values, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        mask, ctx.mask = ctx.mask, None  # or its memory would be held until the whole backward is done
        return mask.of(gradients[0].contiguous(), ctx.scale), None, None


def kept(layout: "Layout", x_NI: torch.Tensor, adapted: Container[int], site: int) -> Mask | None:
    """Return the mask of an adapter's inputs; None if no slot that adapts the layer drops any.

    Scaling what is kept is left to whoever multiplies by the adapter's own scale.
    """
    draws = layout.draws
    if draws is None or not any(share for slot, share in draws.shares.items() if slot in adapted):
        return None
    return draws.rows(layout, x_NI, None, site, adapted)


class PackedDropout(nn.Module):
    """The base's own dropout: one share for all slots, a stream for each."""

    def __init__(self, share: float, site: int) -> None:
        super().__init__()
        self.p = share  # transformers' attention reads the share under torch's name
        self.site = site

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values``, tokens or rows of all slots, with a share ``p`` dropped while training."""
        share = quantise_drop_prob(self.p)
        if not self.training or share <= 0:
            return values
        layout, values = current().of(values), values.contiguous()
        layout.require(values.numel() // values.shape[-1])
        assert layout.draws is not None, "a forward in training without its slots' streams"
        mask = layout.draws.rows(layout, values, share, self.site, None)
        return _Drop.apply(values, mask, 1.0 / (1.0 - share))  # type: ignore[no-any-return, no-untyped-call]


def number_modules(model: nn.Module) -> nn.Module:
    """Give every module of a base its number, by which draws for it are told from others, and return the base."""
    modules = [*model.modules()]
    if len(modules) > MODULES:
        raise CannotPackError(f"it has {len(modules)} modules, and a pack tells {MODULES} apart")
    for site, module in enumerate(modules):
        module.packed_site = site  # type: ignore[assignment]
    return model


def module_number(module: nn.Module) -> int:
    """Return the number of a base's module."""
    return module.packed_site  # type: ignore[return-value]
