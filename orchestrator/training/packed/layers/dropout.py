"""The base model's own dropout, with one random stream per slot."""

import torch
from torch import nn

from orchestrator.training.packed.autograd import Context, apply
from orchestrator.training.packed.layers.context import current, site_of
from orchestrator.training.packed.masks.dropout_masks import Mask
from orchestrator.training.packed.masks.streams import quantise_drop_prob


class PackedDropout(nn.Module):
    """Dropout with the same probability for all slots.

    Attributes:
        p: drop probability; transformers' attention reads it under this name.
    """

    def __init__(self, base: nn.Dropout) -> None:
        """Replace a dropout module of the base model."""
        super().__init__()
        self.p = base.p
        self._site = site_of(base)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values``, all tokens or rows of all slots, dropped with probability ``p`` in training."""
        drop_prob = quantise_drop_prob(self.p)
        if not self.training or drop_prob <= 0:
            return values
        context = current()
        layout, values = context.layout.layout_of(values), values.contiguous()
        layout.require_all(values.numel() // values.shape[-1])
        assert context.masks is not None, "a forward in training without the slots' streams"
        mask = context.masks.vector_mask(layout, values, drop_prob, self._site, None)
        return apply(_Drop, values, mask, 1.0 / (1.0 - drop_prob))


class _DropContext(Context):
    mask: Mask | None
    scale: float


class _Drop(torch.autograd.Function):
    """A mask applied in the forward and again to the gradient."""

    @staticmethod
    def forward(ctx: _DropContext, values: torch.Tensor, mask: Mask, scale: float) -> torch.Tensor:
        ctx.mask, ctx.scale = mask, scale
        return mask.apply(values, scale)

    @staticmethod
    def backward(ctx: _DropContext, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        mask, ctx.mask = ctx.mask, None  # frees its memory before the end of the whole backward
        assert mask is not None, "a second backward"
        return mask.apply(gradients[0].contiguous(), ctx.scale), None, None
