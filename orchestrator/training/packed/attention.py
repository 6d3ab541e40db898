"""Attention over the blocks of a layout, registered with transformers under a name of ours.

Written as plain products: on a CPU the backward of fused attention is slow (benchmarks/RESULTS.md), and fused kernels
take no generator, so that their dropout would depend on the neighbours.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from orchestrator.training.packed.layout import Block, current
from orchestrator.training.packed.randomness import quantised

NAME = "loratory_packed"
"""The ``attn_implementation`` that a pack's base is loaded with."""


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
    layout = current()
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    share = quantised(dropout)
    groups = query.shape[1] // key.shape[1]
    query = query * scale
    outputs = []
    for block in layout.blocks:
        query_BHTD, key_BHTD, value_BHTD = (_rows(block, values) for values in (query, key, value))
        if groups > 1:
            key_BHTD, value_BHTD = (values.repeat_interleave(groups, dim=1) for values in (key_BHTD, value_BHTD))
        scores_BHTT = query_BHTD @ key_BHTD.transpose(2, 3)
        if block.padding_B11T is not None:
            scores_BHTT = scores_BHTT + block.padding_B11T
        if causal:
            ahead_TT = torch.ones(block.length, block.length, dtype=torch.bool, device=scores_BHTT.device).triu(1)
            scores_BHTT = scores_BHTT.masked_fill(ahead_TT, float("-inf"))
        weights_BHTT = torch.softmax(scores_BHTT, dim=-1)
        if share > 0:
            mask_BHTT = torch.empty_like(weights_BHTT)
            layout.random[block.slot].keep(mask_BHTT, share)
            weights_BHTT = weights_BHTT * mask_BHTT.mul_(1.0 / (1.0 - share))
        output_BTHD = (weights_BHTT @ value_BHTD).transpose(1, 2)
        outputs.append(output_BTHD.reshape(block.num_rows * block.length, *output_BTHD.shape[2:]))
    return torch.cat(outputs)[None], None


def _rows(block: Block, values_1HND: torch.Tensor) -> torch.Tensor:
    heads, width = values_1HND.shape[1], values_1HND.shape[3]
    return values_1HND[0, :, block.tokens].view(heads, block.num_rows, block.length, width).transpose(0, 1)


def _no_mask(*_: Any, **__: Any) -> None:  # noqa: ANN401
    """Build no mask: the layout knows where padding stands."""


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)
