"""Dropout as one kernel for all slots of a device, which draws its masks where it needs them and stores none.

A mask's bits are Philox4x32-7 (Salmon et al. 2011) of counters, so that they depend on nothing but the trial: the key
is the trial's seed and the place in the model, the counters are the row among the trial's own, the place in the row,
and how many forwards the trial has made. A backward draws them again.
"""

import torch
import triton
import triton.language as tl

_BLOCK = 512


@triton.jit(do_not_specialize=["count", "site"])
def _keep(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0913, PLR0917  (compiled: what it takes are addresses)
    values,  # noqa: ANN001
    kept,  # noqa: ANN001
    groups_N,  # noqa: ANN001
    firsts_G,  # noqa: ANN001
    seeds_G,  # noqa: ANN001
    forwards_G,  # noqa: ANN001
    cuts_G,  # noqa: ANN001
    count,  # noqa: ANN001
    site,  # noqa: ANN001
    scale,  # noqa: ANN001
    inner,  # noqa: ANN001
    middle,  # noqa: ANN001
    width,  # noqa: ANN001
    BLOCK: tl.constexpr,
):
    quads = tl.cdiv(width, 4)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    quad, line = at % quads, at // quads
    row = line // (inner * middle)
    group = tl.load(groups_N + row, mask=inside, other=0)
    own = row - tl.load(firsts_G + group, mask=inside, other=0)
    place = ((line // inner % middle) << 16) | (line % inner)
    forward = tl.load(forwards_G + group, mask=inside, other=0)
    cut = tl.load(cuts_G + group, mask=inside, other=0)
    seed = tl.load(seeds_G + group, mask=inside, other=0).to(tl.uint64)
    key = seed | (site.to(tl.uint64) << 32)
    drawn = tl.philox(key, own, place, quad, forward, 7)
    first = line.to(tl.int64) * width + quad * 4
    for lane in tl.static_range(4):
        here = inside & (quad * 4 + lane < width)
        value = tl.load(values + first + lane, mask=here, other=0.0).to(tl.float32)
        found = tl.where(drawn[lane].to(tl.int64) >= cut, value * scale, 0.0)
        tl.store(kept + first + lane, found.to(kept.dtype.element_ty), mask=here)


def keep(  # noqa: PLR0913
    values: torch.Tensor,
    into: torch.Tensor,
    *,
    groups_N: torch.Tensor,
    firsts_G: torch.Tensor,
    seeds_G: torch.Tensor,
    forwards_G: torch.Tensor,
    cuts_G: torch.Tensor,
    site: int,
    scale: float,
) -> None:
    """Write ``values * scale`` into ``into``, and zeros where they are dropped.

    Args:
        values: N × W, or N × H × T × W where H and T are below 2^16; contiguous.
        into: likewise; may be ``values`` themselves.
        groups_N: which of G groups each of the N is of, int32.
        firsts_G: what its number among the N is above its number among its trial's own, int32.
        seeds_G: of each group's trial, int64, in [0, 2^31).
        forwards_G: how many forwards that trial has made, int32.
        cuts_G: the share that it drops times 2^32, int64.
        site: in [0, 2^31): which place in the model this is.
        scale: of what is kept.
    """
    middle, inner = values.shape[1:3] if values.dim() == 4 else (1, 1)
    width = values.shape[-1]
    count = values.shape[0] * middle * inner * -(-width // 4)
    if count >= 2**31:
        raise ValueError(f"at most 2^31 groups of four values can be dropped at once, got {count}")
    _keep[(-(-count // _BLOCK),)](
        values,
        into,
        groups_N,
        firsts_G,
        seeds_G,
        forwards_G,
        cuts_G,
        count,
        site,
        scale,
        inner,
        middle,
        width,
        BLOCK=_BLOCK,
    )
