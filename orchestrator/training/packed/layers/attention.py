"""Attention over the blocks of a layout, registered with transformers under a name of ours.

It is fused on a device, and otherwise written as plain products: see ``fuses``. A CPU computes those block by block;
a device all rows at once, as long as the longest.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.layers.fused_attention import fused_attention
from orchestrator.training.packed.layout.blocks import Block, current
from orchestrator.training.packed.layout.padding import pad_heads
from orchestrator.training.packed.masks.host import Mask, module_number

if TYPE_CHECKING:
    from orchestrator.training.packed.masks.host import DropoutMasks

NAME = "loratory_packed"
"""The ``attn_implementation`` that a pack's base is loaded with."""
_WITHOUT_EFFECT = frozenset(
    {"position_ids", "cache_position", "use_cache", "output_attentions", "output_hidden_states", "return_dict"}
)
"""Arguments that models hand through to attention and that do not change what it computes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionTerms:
    """What plain attention does beside its products.

    Attributes:
        pairs: what asks and what it looks at, block by block; T and S tokens a row, the same block in self-attention.
        draws: what the slots draw; None outside training.
        site: the place in the model.
        scale: what scores are multiplied with.
        causal: whether a token sees none that come after it.
        share: of the weights that are dropped.
        bias_1HTS: added to every row's scores, for the longest of all rows; None: nothing.
    """

    pairs: Sequence[tuple[Block, Block]]
    draws: "DropoutMasks | None"
    site: int
    scale: float
    causal: bool
    share: float
    bias_1HTS: torch.Tensor | None


class _Attention(torch.autograd.Function):
    """Plain products of all blocks as one node, which writes each block's gradients where they belong.

    Left to autograd, the gradient of every block's slice would be as wide as the whole, and added to the others'.
    Within a block, heads and rows are one dimension, C = B × H.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch's context)
        query_1HND: torch.Tensor,
        key_1GMD: torch.Tensor,
        value_1GMD: torch.Tensor,
        terms: AttentionTerms,
    ) -> torch.Tensor:
        output_1NHD = torch.empty_like(query_1HND.transpose(1, 2), memory_format=torch.contiguous_format)
        groups, saved, masks = query_1HND.shape[1] // key_1GMD.shape[1], list[torch.Tensor](), list[Mask | None]()
        for asks, seen in terms.pairs:
            query_CTD = _rows(asks, query_1HND)
            key_CSD, value_CSD = (_rows(seen, values, groups) for values in (key_1GMD, value_1GMD))
            weights_CTS, mask = _softmax(_scores(asks, seen, query_CTD, key_CSD, terms)), None
            dropped_CTS = weights_CTS
            if terms.share > 0:
                assert terms.draws is not None, "a forward in training without its slots' streams"
                mask = terms.draws.weights(asks, weights_CTS, terms.share, terms.site)
                dropped_CTS = mask.of(weights_CTS, 1.0 / (1.0 - terms.share))
            _put(asks, output_1NHD.transpose(1, 2), dropped_CTS @ value_CSD)
            saved += [query_CTD, key_CSD, value_CSD, weights_CTS]
            masks.append(mask)
        ctx.save_for_backward(*saved)
        ctx.terms, ctx.keys, ctx.masks = terms, key_1GMD.shape, masks
        return output_1NHD

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        output_1HND = gradients[0].transpose(1, 2)
        found = [torch.empty_like(gradients[0]).transpose(1, 2)]
        _, heads, count, width = ctx.keys
        found += [gradients[0].new_empty(1, count, heads, width).transpose(1, 2) for _ in range(2)]
        terms, saved = ctx.terms, ctx.saved_tensors
        masks, ctx.masks = ctx.masks, None  # or their memory would be held until the whole backward is done
        kept_scale = 1.0 / (1.0 - terms.share)
        for index, (asks, seen) in enumerate(terms.pairs):
            query_CTD, key_CSD, value_CSD, weights_CTS = saved[4 * index : 4 * index + 4]
            output_CTD = _rows(asks, output_1HND)
            dweights_CTS, dropped_CTS = output_CTD @ value_CSD.transpose(1, 2), weights_CTS
            if (mask := masks[index]) is not None:
                dropped_CTS = mask.of(weights_CTS, kept_scale)
                dweights_CTS = mask.of_(dweights_CTS, kept_scale)
            dscores_CTS = _softmax_backward(dweights_CTS, weights_CTS)
            dscores_CTS.mul_(terms.scale)
            _put(asks, found[0], dscores_CTS @ key_CSD)
            _put(seen, found[1], dscores_CTS.transpose(1, 2) @ query_CTD)
            _put(seen, found[2], dropped_CTS.transpose(1, 2) @ output_CTD)
        return *found, None


@dataclass(frozen=True, slots=True)
class _OtherMask:
    """Stands for a mask that packs do not have, until a layer is given it; some models make masks for no layer."""

    why: str


def packed_attention(  # noqa: PLR0913, PLR0917  (transformers' signature)
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | _OtherMask | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    **others: Any,  # noqa: ANN401
) -> tuple[torch.Tensor, None]:
    """Return ``output_1NHD`` of ``query_1HND``, and keys and values with as many heads or fewer.

    A decoder that looks at its encoder's tokens brings ``key_MG1D`` and ``value_MG1D``. A ``position_bias`` is frozen
    and gets no gradient.

    Raises:
        CannotPackError: ``others`` asks for something that is not computed here, such as capped scores.
    """
    layout = current()
    if isinstance(attention_mask, _OtherMask):  # of any other mask the layout knows the padding
        raise CannotPackError(attention_mask.why)
    require_plain(others, layout.longest)
    seen = layout.of(key.transpose(1, 2))
    if seen is not layout:
        key, value = key.transpose(0, 2), value.transpose(0, 2)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    share = quantise_drop_prob(dropout)
    if fuses(query.device, share, position_bias):
        runs = (
            [(run, run) for run in layout.runs] if seen is layout else [*zip(layout.blocks, seen.blocks, strict=True)]
        )
        return fused_attention(query, key, value, runs, scale=scale, causal=causal), None
    terms = partial(
        AttentionTerms,
        draws=layout.draws,
        site=module_number(module),
        scale=scale,
        causal=causal,
        share=share,
        bias_1HTS=position_bias,
    )
    if layout.device == "cpu":
        return plain_attention(query, key, value, terms(pairs=[*zip(layout.blocks, seen.blocks, strict=True)])), None
    query = pad_heads(query, layout.tokens)
    key, value = (pad_heads(values, seen.tokens) for values in (key, value))
    output = plain_attention(query, key, value, terms(pairs=[(layout.whole, seen.whole)]))
    return unpad_heads(output, layout.tokens), None


def require_plain(others: Mapping[str, Any], longest: int) -> None:
    """Raise ``CannotPackError`` if a layer gives attention an argument that changes what it computes.

    A sliding window changes nothing of rows that fit into it.
    """
    for name, value in others.items():
        within = name == "sliding_window" and isinstance(value, int) and longest <= value
        if not (value is None or value is False or name in _WITHOUT_EFFECT or within):
            shown = f"{value:g}" if isinstance(value, int | float) else type(value).__name__
            raise CannotPackError(f"its attention is given {name} ({shown}), which packs do not compute")


def fuses(device: torch.device, share: float, position_bias: torch.Tensor | None) -> bool:
    """Whether attention is computed by fused kernels.

    Not on a CPU, where their backward is slow (benchmarks/RESULTS.md). Not where a ``share`` of the weights is dropped:
    the kernels take no generator, so that what they drop would depend on the neighbours. And not with a position bias
    (T5's): it is as large as the weights that they avoid.
    """
    return device.type == "cuda" and share == 0.0 and position_bias is None


def plain_attention(
    query_1HND: torch.Tensor, key_1GMD: torch.Tensor, value_1GMD: torch.Tensor, terms: AttentionTerms
) -> torch.Tensor:
    """Return ``output_1NHD``, by plain products; what is asked at padding is answered too."""
    return _Attention.apply(query_1HND, key_1GMD, value_1GMD, terms)  # type: ignore[no-any-return, no-untyped-call]


def _scores(
    asks: Block, seen: Block, query_CTD: torch.Tensor, key_CSD: torch.Tensor, terms: AttentionTerms
) -> torch.Tensor:
    """Return ``scores_CTS``, −inf where a token is not to be seen."""
    scores_CTS = query_CTD.new_empty(query_CTD.shape[0], asks.length, seen.length)
    torch.baddbmm(scores_CTS, query_CTD, key_CSD.transpose(1, 2), beta=0, alpha=terms.scale, out=scores_CTS)
    scores_BHTS = scores_CTS.view(asks.num_rows, -1, asks.length, seen.length)
    if terms.bias_1HTS is not None:
        scores_BHTS.add_(terms.bias_1HTS[:, :, : asks.length, : seen.length])
    if seen.padding_B11T is not None:
        scores_BHTS.add_(seen.padding_B11T)
    if terms.causal:
        ahead_TS = torch.ones(asks.length, seen.length, dtype=torch.bool, device=scores_CTS.device).triu(1)
        scores_CTS.masked_fill_(ahead_TS, float("-inf"))
    return scores_CTS


def _softmax(scores_CTS: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the last dimension, in the scores' format, computed in float32.

    Of bfloat16 rows as short as sentences torch's own takes a CPU three times as long, and its backward five times.
    """
    return torch.softmax(scores_CTS, dim=-1, dtype=torch.float32).to(scores_CTS.dtype)


def _softmax_backward(dweights_CTS: torch.Tensor, weights_CTS: torch.Tensor) -> torch.Tensor:
    """Return the scores' gradient, in the weights' format, computed in float32."""
    found_CTS = torch._softmax_backward_data(dweights_CTS.float(), weights_CTS.float(), -1, torch.float32)
    return found_CTS.to(weights_CTS.dtype)


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


class _Checks(threading.local):
    masks = False


_CHECKS = _Checks()


@contextmanager
def forbid_special_masks() -> Iterator[None]:
    """Have this thread's forwards raise ``CannotPackError`` if the model asks for another mask than packs have."""
    _CHECKS.masks = True
    try:
        yield
    finally:
        _CHECKS.masks = False


def _no_mask(
    *_: Any,  # noqa: ANN401
    mask_function: Callable[..., Any] | None = None,
    use_vmap: bool = False,
    **__: Any,  # noqa: ANN401
) -> _OtherMask | None:
    """Build no mask: the layout knows where padding stands, and a layer whether it is causal."""
    if not _CHECKS.masks or mask_function is None:
        return None
    if use_vmap:
        return _OtherMask("its code makes an attention mask of its own")
    block = max(current().blocks, key=lambda block: block.length)
    if _is_plain(mask_function, block, current().device):
        return None
    return _OtherMask(f"in rows of {block.length} tokens its attention leaves some out (a sliding window or chunks)")


def _is_plain(mask_function: Callable[..., Any], block: Block, device: str) -> bool:
    """Return whether all tokens of a block's first row see all others, or all that stand before them."""
    places = torch.arange(block.tokens.start, block.tokens.start + block.length, device=device)
    row = torch.zeros(1, 1, 1, 1, dtype=torch.long, device=device)
    seen = mask_function(row, row, places[None, None, :, None], places[None, None, None])
    seen_TT = torch.as_tensor(seen).expand(1, 1, block.length, block.length)[0, 0]
    all_TT = torch.ones_like(seen_TT, dtype=torch.bool)
    return torch.equal(seen_TT, all_TT) or torch.equal(seen_TT, all_TT.tril())


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)
