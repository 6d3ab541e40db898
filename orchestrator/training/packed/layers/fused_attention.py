"""Attention by torch's fused kernels, which never hold the weights of all pairs of tokens; for a device.

They take no generator, so this is for attention that drops nothing. Blocks that stand side by side and are as long as
each other may be given as one (``Layout.runs``): fewer and larger kernels.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import scaled_dot_product_attention

from orchestrator.training.packed.layout.blocks import Block

_SHARE_KEYS = {torch.bfloat16, torch.float16}
"""Formats of flash attention, the one fused kernel in which heads can share keys; float32 is another kernel's."""
_WIDEST_THAT_SHARES = 256
"""Values of a head, at most, in flash attention."""


def fused_attention(
    query_1HND: torch.Tensor,
    key_1GMD: torch.Tensor,
    value_1GMD: torch.Tensor,
    pairs: Sequence[tuple[Block, Block]],
    *,
    scale: float,
    causal: bool,
) -> torch.Tensor:
    """Return ``output_1NHD``.

    In causal attention padding needs no mask, for it stands on the right: no token that is one sees any. What is
    computed at padding differs from plain attention then, and is nobody's. Masks would rule flash attention out.

    Args:
        query_1HND: of all tokens.
        key_1GMD: with as many heads or fewer, G, each of which serves H / G; M tokens, in self-attention N.
        value_1GMD: likewise.
        pairs: what asks and what it looks at, in the order of the tokens; together all of them.
        scale: what scores are multiplied with.
        causal: whether a token sees none that come after it.
    """
    asking = torch.split(query_1HND, [asks.num_rows * asks.length for asks, _ in pairs], dim=2)
    sizes = [seen.num_rows * seen.length for _, seen in pairs]
    keys, values = torch.split(key_1GMD, sizes, dim=2), torch.split(value_1GMD, sizes, dim=2)
    outputs = []
    for (asks, seen), query, key, value in zip(pairs, asking, keys, values, strict=True):
        bias_B11S = None if causal else seen.padding_B11T
        query_BHTD, key_BHSD, value_BHSD = _rows(query, asks), _rows(key, seen), _rows(value, seen)
        groups = query.shape[1] // key.shape[1]
        shares = groups > 1 and bias_B11S is None and _can_share_keys(query)
        if groups > 1 and not shares:
            key_BHSD, value_BHSD = (part.repeat_interleave(groups, dim=1) for part in (key_BHSD, value_BHSD))
        output_BHTD = scaled_dot_product_attention(
            query_BHTD, key_BHSD, value_BHSD, bias_B11S, is_causal=causal, scale=scale, enable_gqa=shares
        )
        outputs.append(output_BHTD.transpose(1, 2).reshape(1, -1, query.shape[1], value.shape[3]))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


def _can_share_keys(query: torch.Tensor) -> bool:
    """Whether keys need no copy for each head that they serve: elsewhere sharing falls back to unfused products."""
    return query.dtype in _SHARE_KEYS and query.shape[3] <= _WIDEST_THAT_SHARES


def _rows(values_1HND: torch.Tensor, block: Block) -> torch.Tensor:
    """Return a block's ``values_BHTD``, a view."""
    heads, width = values_1HND.shape[1], values_1HND.shape[3]
    return values_1HND[0].view(heads, block.num_rows, block.length, width).transpose(0, 1)
