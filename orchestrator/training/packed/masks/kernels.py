"""Dropout on a device as one Triton kernel for all slots, which recomputes masks and stores none.

The random bits are Philox4x32-7 (Salmon et al. 2011). The key holds the trial's seed and the site; the counters hold
the row among the trial's own rows, the position in the row, and the number of the trial's forwards. The bits therefore
depend on the trial only, and a backward computes the same bits again.
"""

import torch
import triton
import triton.language as tl

_BLOCK = 512


@triton.jit(do_not_specialize=["count", "site"])
def _apply_dropout(  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917  (compiled: arguments are addresses)
    values,
    out,
    groups_N,
    offsets_G,
    seeds_G,
    forwards_G,
    thresholds_G,
    count,
    site,
    scale,
    inner,
    middle,
    width,
    BLOCK: tl.constexpr,
):
    quads = tl.cdiv(width, 4)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    quad, line = at % quads, at // quads
    row = line // (inner * middle)
    group = tl.load(groups_N + row, mask=inside, other=0)
    own_row = row - tl.load(offsets_G + group, mask=inside, other=0)
    position = ((line // inner % middle) << 16) | (line % inner)
    forward = tl.load(forwards_G + group, mask=inside, other=0)
    threshold = tl.load(thresholds_G + group, mask=inside, other=0)
    seed = tl.load(seeds_G + group, mask=inside, other=0).to(tl.uint64)
    key = seed | (site.to(tl.uint64) << 32)
    words = tl.philox(key, own_row, position, quad, forward, 7)
    start = line.to(tl.int64) * width + quad * 4
    for lane in tl.static_range(4):
        here = inside & (quad * 4 + lane < width)
        value = tl.load(values + start + lane, mask=here, other=0.0).to(tl.float32)
        masked = tl.where(words[lane].to(tl.int64) >= threshold, value * scale, 0.0)
        tl.store(out + start + lane, masked.to(out.dtype.element_ty), mask=here)


def apply_dropout(  # noqa: PLR0913  (one argument per counter)
    values: torch.Tensor,
    out: torch.Tensor,
    *,
    groups_N: torch.Tensor,
    offsets_G: torch.Tensor,
    seeds_G: torch.Tensor,
    forwards_G: torch.Tensor,
    thresholds_G: torch.Tensor,
    site: int,
    scale: float,
) -> None:
    """Write ``scale * values`` into ``out`` where a mask keeps a value, else 0.

    Args:
        values: N × D, or N × H × T × S with H and T below 2^16; contiguous.
        out: a tensor of the same shape, contiguous; may be ``values``.
        groups_N: group of each of the N, int32.
        offsets_G: position among the N minus position among the trial's own, int32.
        seeds_G: seed of each group's stream, int64, in [0, 2^31).
        forwards_G: earlier forwards of that stream, int32.
        thresholds_G: drop probability times 2^32, int64.
        site: number of the module and of its use in the forward, in [0, 2^31).
        scale: factor of the kept values.
    """
    middle, inner = values.shape[1:3] if values.dim() == 4 else (1, 1)
    width = values.shape[-1]
    count = values.shape[0] * middle * inner * -(-width // 4)
    if count >= 2**31:
        raise ValueError(f"dropout handles at most 2^31 groups of four values at once, got {count}")
    _apply_dropout[(-(-count // _BLOCK),)](
        values,
        out,
        groups_N,
        offsets_G,
        seeds_G,
        forwards_G,
        thresholds_G,
        count,
        site,
        scale,
        inner,
        middle,
        width,
        BLOCK=_BLOCK,
    )
