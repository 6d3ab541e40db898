"""``kernels.apply_dropout`` in numpy: oracle of the kernel, and its replacement without Triton."""

import numpy as np
import torch

_A, _B = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_A, _KEY_B = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_ROUNDS = 7


def philox(counters: list[np.ndarray], low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    """Return the four words of Philox4x32 (Salmon et al. 2011) for counters and a key, uint64 below 2^32."""
    c0, c1, c2, c3 = counters
    for number in range(_ROUNDS):
        k0 = (low + np.uint64(number * _KEY_A & 0xFFFFFFFF)) & _LOW
        k1 = (high + np.uint64(number * _KEY_B & 0xFFFFFFFF)) & _LOW
        left, right = _A * c0, _B * c2
        c0, c1, c2, c3 = right >> np.uint64(32) ^ c1 ^ k0, right & _LOW, left >> np.uint64(32) ^ c3 ^ k1, left & _LOW
    return [c0, c1, c2, c3]


def apply_dropout(
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
    """See ``kernels.apply_dropout``."""
    middle, inner = values.shape[1:3] if values.dim() == 4 else (1, 1)
    rows, width = values.shape[0], values.shape[-1]
    groups, first, seed, forward, cut = (
        words.cpu().numpy().astype(np.uint64) for words in (groups_N, offsets_G, seeds_G, forwards_G, thresholds_G)
    )
    groups = groups.astype(np.int64)
    assert groups.shape == (rows,)
    shape = (rows, middle, inner, -(-width // 4))
    row, high, low, quad = (np.ascontiguousarray(np.broadcast_to(at, shape)) for at in np.ix_(*map(np.arange, shape)))
    group = groups[row]
    counters = [row.astype(np.uint64) - first[group], (high.astype(np.uint64) << np.uint64(16)) | low.astype(np.uint64)]
    words = philox([*counters, quad.astype(np.uint64), forward[group]], seed[group], np.full(shape, site, np.uint64))
    kept = np.stack([word >= cut[group] for word in words], axis=-1).reshape(rows, middle, inner, -1)[..., :width]
    found = torch.where(torch.from_numpy(kept).to(values.device).view(values.shape), values.float() * scale, 0.0)
    out.copy_(found)
