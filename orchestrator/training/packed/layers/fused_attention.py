"""Attention by torch's fused kernels, for a device and attention without dropout.

The kernels never store the weights of all pairs of tokens. They take no generator, so dropout would depend on the
neighbours. Merged blocks of the same length (``Layout.runs``) mean fewer and larger kernels.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import scaled_dot_product_attention

from orchestrator.training.packed.layout.blocks import Block

_FLASH_FORMATS = {torch.bfloat16, torch.float16}
"""Number formats of flash attention, the only fused kernel with shared key heads."""
_FLASH_WIDTH = 256
"""Features of a head in flash attention, at most."""


def fused_attention(
    query_1HND: torch.Tensor,
    key_1KMD: torch.Tensor,
    value_1KMD: torch.Tensor,
    pairs: Sequence[tuple[Block, Block]],
    *,
    scale: float,
    causal: bool,
) -> torch.Tensor:
    """Return ``output_1NHD``.

    Causal attention needs no padding mask, because padding stands on the right and no token reads it. A mask would
    rule out flash attention. The output at padding is undefined.

    Args:
        query_1HND: of all tokens.
        key_1KMD: of all tokens to read.
        value_1KMD: of all tokens to read.
        pairs: the block of the queries and the block of the keys, in the order of the tokens; together all tokens.
        scale: factor of the scores.
        causal: whether a token reads only itself and the tokens before it.
    """
    queries = torch.split(query_1HND, [asking.num_rows * asking.length for asking, _ in pairs], dim=2)
    sizes = [read.num_rows * read.length for _, read in pairs]
    keys, values = torch.split(key_1KMD, sizes, dim=2), torch.split(value_1KMD, sizes, dim=2)
    outputs = []
    for (asking, read), query, key, value in zip(pairs, queries, keys, values, strict=True):
        bias_B11S = None if causal else read.bias_B11T
        query_BHTD, key_BKSD, value_BKSD = _rows(query, asking), _rows(key, read), _rows(value, read)
        copies = query.shape[1] // key.shape[1]
        shared = copies > 1 and bias_B11S is None and _can_share_keys(query)
        if copies > 1 and not shared:
            key_BKSD, value_BKSD = (heads.repeat_interleave(copies, dim=1) for heads in (key_BKSD, value_BKSD))
        output_BHTD = scaled_dot_product_attention(
            query_BHTD, key_BKSD, value_BKSD, bias_B11S, is_causal=causal, scale=scale, enable_gqa=shared
        )
        outputs.append(output_BHTD.transpose(1, 2).reshape(1, -1, query.shape[1], value.shape[3]))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


def _can_share_keys(query: torch.Tensor) -> bool:
    """Return whether a fused kernel supports shared key heads; without one torch falls back to unfused products."""
    return query.dtype in _FLASH_FORMATS and query.shape[3] <= _FLASH_WIDTH


def _rows(values_1HND: torch.Tensor, block: Block) -> torch.Tensor:
    """Return a block's ``values_BHTD``, a view."""
    heads, width = values_1HND.shape[1], values_1HND.shape[3]
    return values_1HND[0].view(heads, block.num_rows, block.length, width).transpose(0, 1)
