"""The attention of a pack, registered with transformers under ``NAME``.

Fused kernels compute it where they can (``uses_fused_kernels``), else plain products: block by block on a CPU, and for
all rows padded to the longest row at once on a device.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.layers.context import current, site_of
from orchestrator.training.packed.layers.fused_attention import fused_attention
from orchestrator.training.packed.layers.plain_attention import AttentionTerms, plain_attention
from orchestrator.training.packed.layout.blocks import Block
from orchestrator.training.packed.layout.padding import pad_heads, unpad_heads
from orchestrator.training.packed.masks.streams import quantise_drop_prob

NAME = "loratory_packed"
"""``attn_implementation`` of a pack's base model."""
_IGNORED = frozenset(
    {"position_ids", "cache_position", "use_cache", "output_attentions", "output_hidden_states", "return_dict"}
)
"""Arguments of attention without an effect on its result."""


@dataclass(frozen=True, slots=True)
class _UnsupportedMask:
    """Stands for an attention mask without support in packs; only a layer called with it raises an error."""

    reason: str


def packed_attention(  # noqa: PLR0913, PLR0917  (transformers' signature)
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | _UnsupportedMask | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """Return ``output_1NHD`` of ``query_1HND``, ``key_1KND`` and ``value_1KND``.

    A decoder reads its encoder's tokens as ``key_MK1D`` and ``value_MK1D``. The ``position_bias`` is frozen and gets no
    gradient.

    Raises:
        CannotPackError: packs do not support an argument in ``others`` (capped scores, for example).
    """
    context = current()
    layout = context.layout
    if isinstance(attention_mask, _UnsupportedMask):  # any other mask states the padding that the layout knows
        raise CannotPackError(attention_mask.reason)
    cache, scale = context.cache, query.shape[-1] ** -0.5 if scaling is None else scaling
    require_supported(others, layout.longest if cache is None else cache.longest)
    if cache is not None and cache.is_reading:
        return cache.attend(query, key, value, scale), None
    read = layout.layout_of(key.transpose(1, 2))
    if read is not layout:
        key, value = key.transpose(0, 2), value.transpose(0, 2)
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    drop_prob = quantise_drop_prob(dropout)
    pairs = [*zip(layout.blocks, read.blocks, strict=True)]
    if uses_fused_kernels(query.device, drop_prob, position_bias):
        runs = [(run, run) for run in layout.runs] if read is layout else pairs
        return fused_attention(query, key, value, runs, scale=scale, causal=causal), None
    terms = AttentionTerms(
        pairs=pairs if layout.device == "cpu" else [(layout.single_block, read.single_block)],
        masks=context.masks,
        site=site_of(module),
        scale=scale,
        causal=causal,
        drop_prob=drop_prob,
        bias_1HTS=position_bias,
    )
    if layout.device == "cpu":
        return plain_attention(query, key, value, terms), None
    query = pad_heads(query, layout.tokens_by_row)
    key, value = (pad_heads(values, read.tokens_by_row) for values in (key, value))
    return unpad_heads(plain_attention(query, key, value, terms), layout.tokens_by_row), None


def require_supported(others: Mapping[str, object], longest: int) -> None:
    """Raise ``CannotPackError`` if an argument changes attention and packs do not support it.

    A sliding window has no effect on shorter rows.

    Args:
        others: additional arguments of a layer's call.
        longest: tokens of the longest row.
    """
    for name, value in others.items():
        no_effect = name == "sliding_window" and isinstance(value, int) and longest <= value
        if not (value is None or value is False or name in _IGNORED or no_effect):
            shown = f"{value:g}" if isinstance(value, int | float) else type(value).__name__
            raise CannotPackError(f"its attention is given {name} ({shown}), which packs do not support")


def uses_fused_kernels(device: torch.device, drop_prob: float, position_bias: torch.Tensor | None) -> bool:
    """Return whether fused kernels compute attention.

    Not on a CPU: their backward is slow there (benchmarks/history). Not with dropout: the kernels take no generator,
    so dropout would depend on the neighbours. Not with a position bias (T5's): it is as large as the weights.
    """
    return device.type == "cuda" and drop_prob == 0.0 and position_bias is None


class _Local(threading.local):
    checks_masks = False


_LOCAL = _Local()


@contextmanager
def checking_masks() -> Iterator[None]:
    """Let forwards of this thread raise ``CannotPackError`` if a layer uses an attention mask other than a pack's."""
    _LOCAL.checks_masks = True
    try:
        yield
    finally:
        _LOCAL.checks_masks = False


def _create_no_mask(
    *_: object,
    mask_function: Callable[..., object] | None = None,
    use_vmap: bool = False,
    **__: object,
) -> _UnsupportedMask | None:
    """Return None in place of an attention mask: the layout states the padding, and a layer whether it is causal."""
    if not _LOCAL.checks_masks or mask_function is None:
        return None
    if use_vmap:
        return _UnsupportedMask("its code creates its own attention mask")
    layout = current().layout
    block = max(layout.blocks, key=lambda block: block.length)
    if _is_full_or_causal(mask_function, block, layout.device):
        return None
    return _UnsupportedMask(f"in rows of {block.length} tokens its attention skips some (a sliding window or chunks)")


def _is_full_or_causal(mask_function: Callable[..., object], block: Block, device: str) -> bool:
    """Return whether every token of a block's first row reads all tokens of the row, or all before it and itself."""
    positions = torch.arange(block.tokens.start, block.tokens.start + block.length, device=device)
    row = torch.zeros(1, 1, 1, 1, dtype=torch.long, device=device)
    reads = mask_function(row, row, positions[None, None, :, None], positions[None, None, None])
    reads_TS = torch.as_tensor(reads).expand(1, 1, block.length, block.length)[0, 0]
    all_TS = torch.ones_like(reads_TS, dtype=torch.bool)
    return torch.equal(reads_TS, all_TS) or torch.equal(reads_TS, all_TS.tril())


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _create_no_mask)
