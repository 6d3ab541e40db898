"""Attention over the blocks of a layout, registered with transformers under a name of ours.

Written as plain products: on a CPU the backward of fused attention is slow (benchmarks/RESULTS.md), and fused kernels
take no generator, so that their dropout would depend on the neighbours.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from orchestrator.training.packed.layout import Block, Layout, current
from orchestrator.training.packed.randomness import masked, new_mask, quantised

NAME = "loratory_packed"
"""The ``attn_implementation`` that a pack's base is loaded with."""


class _Attention(torch.autograd.Function):
    """All blocks as one node, which writes each block's gradients where they belong.

    Left to autograd, the gradient of every block's slice would be as wide as the whole, and added to the others'.
    Within a block, heads and rows are one dimension, C = B × H.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  (torch passes no keywords)
        ctx: Any,  # noqa: ANN401  (torch's context)
        query_1HND: torch.Tensor,
        key_1GND: torch.Tensor,
        value_1GND: torch.Tensor,
        layout: Layout,
        scale: float,
        causal: bool,
        share: float,
    ) -> torch.Tensor:
        output_1NHD = torch.empty_like(query_1HND.transpose(1, 2), memory_format=torch.contiguous_format)
        groups, saved = query_1HND.shape[1] // key_1GND.shape[1], []
        for block in layout.blocks:
            query_CTD = _rows(block, query_1HND)
            key_CTD, value_CTD = (_rows(block, values, groups) for values in (key_1GND, value_1GND))
            scores_CTT = query_CTD.new_empty(query_CTD.shape[0], block.length, block.length)
            torch.baddbmm(scores_CTT, query_CTD, key_CTD.transpose(1, 2), beta=0, alpha=scale, out=scores_CTT)
            if block.padding_B11T is not None:
                scores_CTT.view(block.num_rows, -1, block.length, block.length).add_(block.padding_B11T)
            if causal:
                ahead_TT = torch.ones(block.length, block.length, dtype=torch.bool, device=scores_CTT.device).triu(1)
                scores_CTT.masked_fill_(ahead_TT, float("-inf"))
            weights_CTT, mask_CTT = torch.softmax(scores_CTT, dim=-1), None
            dropped_CTT = weights_CTT
            if share > 0:
                mask_CTT = new_mask(weights_CTT)
                layout.random[block.slot].keep(mask_CTT, share)
                dropped_CTT = masked(weights_CTT, mask_CTT).mul_(1.0 / (1.0 - share))
            _put(block, output_1NHD.transpose(1, 2), dropped_CTT @ value_CTD)
            saved += [query_CTD, key_CTD, value_CTD, weights_CTT, mask_CTT]
        ctx.save_for_backward(*saved)
        ctx.layout, ctx.scale, ctx.share, ctx.heads = layout, scale, share, key_1GND.shape[1]
        return output_1NHD

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        output_1HND = gradients[0].transpose(1, 2)
        found = [torch.empty_like(gradients[0]).transpose(1, 2)]
        kv_shape = (1, gradients[0].shape[1], ctx.heads, gradients[0].shape[3])
        found += [gradients[0].new_empty(kv_shape).transpose(1, 2) for _ in range(2)]
        saved, kept_scale = ctx.saved_tensors, 1.0 / (1.0 - ctx.share)
        for index, block in enumerate(ctx.layout.blocks):
            query_CTD, key_CTD, value_CTD, weights_CTT, mask_CTT = saved[5 * index : 5 * index + 5]
            output_CTD = _rows(block, output_1HND)
            dweights_CTT, dropped_CTT = output_CTD @ value_CTD.transpose(1, 2), weights_CTT
            if mask_CTT is not None:
                dropped_CTT = masked(weights_CTT, mask_CTT).mul_(kept_scale)
                dweights_CTT = masked(dweights_CTT, mask_CTT).mul_(kept_scale)
            dscores_CTT = torch._softmax_backward_data(dweights_CTT, weights_CTT, -1, weights_CTT.dtype)
            dscores_CTT.mul_(ctx.scale)
            _put(block, found[0], dscores_CTT @ key_CTD)
            _put(block, found[1], dscores_CTT.transpose(1, 2) @ query_CTD)
            _put(block, found[2], dropped_CTT.transpose(1, 2) @ output_CTD)
        return *found, None, None, None, None


def packed_attention(  # noqa: PLR0913, PLR0917  (transformers' signature)
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001  (the layout knows the padding)
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **_: Any,  # noqa: ANN401
) -> tuple[torch.Tensor, None]:
    """Return ``output_1NHD`` of ``query_1HND``, and keys and values with as many heads or fewer."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    output = _Attention.apply(query, key, value, current(), scale, causal, quantised(dropout))  # type: ignore[no-untyped-call]
    return output, None


def _rows(block: Block, values_1HND: torch.Tensor, groups: int = 1) -> torch.Tensor:
    """Return a block's ``values_CTD``, contiguous, each head ``groups`` times."""
    heads, width = values_1HND.shape[1], values_1HND.shape[3]
    values_HBTD = values_1HND[0, :, block.tokens].view(heads, block.num_rows, block.length, width)
    if groups > 1:
        values_HBTD = values_HBTD.repeat_interleave(groups, dim=0)
    return values_HBTD.transpose(0, 1).reshape(block.num_rows * heads * groups, block.length, width)


def _put(block: Block, into_1HND: torch.Tensor, values_CTD: torch.Tensor) -> None:
    """Write a block's values where they belong; of heads that shared one, the sum."""
    heads, width = into_1HND.shape[1], into_1HND.shape[3]
    values_BHGTD = values_CTD.view(block.num_rows, heads, -1, block.length, width)
    values_BHTD = values_BHGTD[:, :, 0] if values_BHGTD.shape[2] == 1 else values_BHGTD.sum(2)
    into_HBTD = into_1HND[0, :, block.tokens].view(heads, block.num_rows, block.length, width)
    into_HBTD.copy_(values_BHTD.transpose(0, 1))


def _no_mask(*_: Any, **__: Any) -> None:  # noqa: ANN401
    """Build no mask: the layout knows where padding stands."""


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)
