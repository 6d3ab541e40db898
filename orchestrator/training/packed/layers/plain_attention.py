"""Attention written as plain products, block by block, with dropout masks per slot."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from orchestrator.training.packed.autograd import Context, apply
from orchestrator.training.packed.layout.blocks import Block
from orchestrator.training.packed.masks.dropout_masks import DropoutMasks, Mask


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionTerms:
    """The arguments of attention beside queries, keys and values.

    Attributes:
        pairs: by slot, the block of the queries and the block of the keys; the same block twice in self-attention.
        masks: dropout masks; None outside training.
        site: number of the module.
        scale: factor of the scores.
        causal: whether a token reads only itself and the tokens before it.
        drop_prob: drop probability of the attention weights, quantised.
        bias_1HTS: added to the scores of every row, for the longest row; None means none.
    """

    pairs: Sequence[tuple[Block, Block]]
    masks: DropoutMasks | None
    site: int
    scale: float
    causal: bool
    drop_prob: float
    bias_1HTS: torch.Tensor | None


def plain_attention(
    query_1HND: torch.Tensor, key_1KMD: torch.Tensor, value_1KMD: torch.Tensor, terms: AttentionTerms
) -> torch.Tensor:
    """Return ``output_1NHD``, padding included."""
    return apply(_Attention, query_1HND, key_1KMD, value_1KMD, terms)


class _AttentionContext(Context):
    terms: AttentionTerms
    key_shape: torch.Size
    masks: Sequence[Mask | None]


class _Attention(torch.autograd.Function):
    """All blocks as one node of the graph, which writes each block's gradients into place.

    Autograd would allocate a gradient for all slots per block, and add them.
    """

    @staticmethod
    def forward(
        ctx: _AttentionContext,
        query_1HND: torch.Tensor,
        key_1KMD: torch.Tensor,
        value_1KMD: torch.Tensor,
        terms: AttentionTerms,
    ) -> torch.Tensor:
        output_1NHD = torch.empty_like(query_1HND.transpose(1, 2), memory_format=torch.contiguous_format)
        copies, saved, masks = query_1HND.shape[1] // key_1KMD.shape[1], list[torch.Tensor](), list[Mask | None]()
        for asking, read in terms.pairs:
            query_XTD = _take(asking, query_1HND)
            key_XSD, value_XSD = (_take(read, values, copies) for values in (key_1KMD, value_1KMD))
            weights_XTS, mask = _softmax(_scores(asking, read, query_XTD, key_XSD, terms)), None
            dropped_XTS = weights_XTS
            if terms.drop_prob > 0:
                assert terms.masks is not None, "a forward in training without the slots' streams"
                mask = terms.masks.attention_mask(asking, weights_XTS, terms.drop_prob, terms.site)
                dropped_XTS = mask.apply(weights_XTS, 1.0 / (1.0 - terms.drop_prob))
            _put(asking, output_1NHD.transpose(1, 2), dropped_XTS @ value_XSD)
            saved += [query_XTD, key_XSD, value_XSD, weights_XTS]
            masks.append(mask)
        ctx.save_for_backward(*saved)
        ctx.terms, ctx.key_shape, ctx.masks = terms, key_1KMD.shape, masks
        return output_1NHD

    @staticmethod
    def backward(ctx: _AttentionContext, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad_1HND = gradients[0].transpose(1, 2)
        dquery_1HND = torch.empty_like(gradients[0]).transpose(1, 2)
        _, key_heads, count, width = ctx.key_shape
        dkey_1KMD, dvalue_1KMD = (gradients[0].new_empty(1, count, key_heads, width).transpose(1, 2) for _ in range(2))
        terms, saved = ctx.terms, ctx.saved_tensors
        masks, ctx.masks = ctx.masks, ()  # frees their memory before the end of the whole backward
        keep_scale = 1.0 / (1.0 - terms.drop_prob)
        for index, (asking, read) in enumerate(terms.pairs):
            query_XTD, key_XSD, value_XSD, weights_XTS = saved[4 * index : 4 * index + 4]
            grad_XTD = _take(asking, grad_1HND)
            dweights_XTS, dropped_XTS = grad_XTD @ value_XSD.transpose(1, 2), weights_XTS
            if (mask := masks[index]) is not None:
                dropped_XTS = mask.apply(weights_XTS, keep_scale)
                dweights_XTS = mask.apply_(dweights_XTS, keep_scale)
            dscores_XTS = _softmax_backward(dweights_XTS, weights_XTS)
            dscores_XTS.mul_(terms.scale)
            _put(asking, dquery_1HND, dscores_XTS @ key_XSD)
            _put(read, dkey_1KMD, dscores_XTS.transpose(1, 2) @ query_XTD)
            _put(read, dvalue_1KMD, dropped_XTS.transpose(1, 2) @ grad_XTD)
        return dquery_1HND, dkey_1KMD, dvalue_1KMD, None


def _scores(
    asking: Block, read: Block, query_XTD: torch.Tensor, key_XSD: torch.Tensor, terms: AttentionTerms
) -> torch.Tensor:
    """Return ``scores_XTS``, −inf where a query must not read a token."""
    scores_XTS = query_XTD.new_empty(query_XTD.shape[0], asking.length, read.length)
    torch.baddbmm(scores_XTS, query_XTD, key_XSD.transpose(1, 2), beta=0, alpha=terms.scale, out=scores_XTS)
    scores_BHTS = scores_XTS.view(asking.num_rows, -1, asking.length, read.length)
    if terms.bias_1HTS is not None:
        scores_BHTS.add_(terms.bias_1HTS[:, :, : asking.length, : read.length])
    if read.bias_B11T is not None:
        scores_BHTS.add_(read.bias_B11T)
    if terms.causal:
        later_TS = torch.ones(asking.length, read.length, dtype=torch.bool, device=scores_XTS.device).triu(1)
        scores_XTS.masked_fill_(later_TS, float("-inf"))
    return scores_XTS


def _softmax(scores_XTS: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the last dimension, computed in float32, in the scores' format.

    For short rows in bfloat16 on a CPU, torch's own softmax takes three times as long, and its backward five times.
    """
    return torch.softmax(scores_XTS, dim=-1, dtype=torch.float32).to(scores_XTS.dtype)


def _softmax_backward(dweights_XTS: torch.Tensor, weights_XTS: torch.Tensor) -> torch.Tensor:
    """Return the scores' gradient, computed in float32, in the weights' format."""
    dscores_XTS = torch._softmax_backward_data(dweights_XTS.float(), weights_XTS.float(), -1, torch.float32)
    return dscores_XTS.to(weights_XTS.dtype)


def _take(block: Block, values_1HND: torch.Tensor, copies: int = 1) -> torch.Tensor:
    """Return a block's ``values_XTD``, contiguous, with ``copies`` of each head."""
    heads, width = values_1HND.shape[1], values_1HND.shape[3]
    values_HBTD = values_1HND[0, :, block.tokens].view(heads, block.num_rows, block.length, width)
    if copies > 1:
        values_HBTD = values_HBTD.repeat_interleave(copies, dim=0)
    return values_HBTD.transpose(0, 1).reshape(block.num_rows * heads * copies, block.length, width)


def _put(block: Block, out_1KND: torch.Tensor, values_XTD: torch.Tensor) -> None:
    """Write a block's values into ``out_1KND``, summed over the query heads of each key head."""
    heads, width = out_1KND.shape[1], out_1KND.shape[3]
    values_BKQTD = values_XTD.view(block.num_rows, heads, -1, block.length, width)
    values_BKTD = values_BKQTD[:, :, 0] if values_BKQTD.shape[2] == 1 else values_BKQTD.sum(2)
    out_KBTD = out_1KND[0, :, block.tokens].view(heads, block.num_rows, block.length, width)
    out_KBTD.copy_(values_BKTD.transpose(0, 1))
