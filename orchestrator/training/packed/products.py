"""Products of each slot's rows with its own matrices, added to what is there.

On a CUDA device one grouped product serves all slots. On a CPU torch's grouped product is itself a loop that copies
its results; written out, each product is added where it belongs, at the slot's own rank and without a copy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Span(NamedTuple):
    """A slot that has rows in this forward and adapts this layer.

    Attributes:
        slot: the slot's index.
        rows: its rows of N.
        rank: ranks that it uses, of R.
        scale: what its product is multiplied with.
    """

    slot: int
    rows: slice
    rank: int
    scale: float


def down(x_NI: torch.Tensor, a_PRI: torch.Tensor, spans: Sequence[Span], ends_P: torch.Tensor) -> torch.Tensor:
    """Return ``h_NR``: each slot's rows times its A transposed; undefined beyond a slot's rank."""
    if x_NI.is_cuda:
        return torch.nn.functional.grouped_mm(x_NI, a_PRI.transpose(1, 2), offs=ends_P)
    h_NR = x_NI.new_empty(x_NI.shape[0], a_PRI.shape[1])
    for span in spans:
        torch.mm(x_NI[span.rows], a_PRI[span.slot, : span.rank].t(), out=h_NR[span.rows, : span.rank])
    return h_NR


def add_up(
    y_NO: torch.Tensor, h_NR: torch.Tensor, b_PRO: torch.Tensor, spans: Sequence[Span], ends_P: torch.Tensor
) -> None:
    """Add each slot's ``h B``, times its scale, to ``y_NO``."""
    if y_NO.is_cuda:
        y_NO += torch.nn.functional.grouped_mm(h_NR, b_PRO * _scales(spans, b_PRO), offs=ends_P)
        return
    for span in spans:
        part = y_NO[span.rows]
        torch.addmm(part, h_NR[span.rows, : span.rank], b_PRO[span.slot, : span.rank], alpha=span.scale, out=part)


def up(
    h_NR: torch.Tensor, a_PRI: torch.Tensor, spans: Sequence[Span], ends_P: torch.Tensor, like_NI: torch.Tensor
) -> torch.Tensor:
    """Return each slot's ``h A``, unscaled, and zeros for rows of slots without a span."""
    if h_NR.is_cuda:
        return torch.nn.functional.grouped_mm(h_NR, a_PRI, offs=ends_P)
    whole = sum(span.rows.stop - span.rows.start for span in spans) == h_NR.shape[0]
    y_NI = torch.empty_like(like_NI) if whole else torch.zeros_like(like_NI)
    for span in spans:
        torch.mm(h_NR[span.rows, : span.rank], a_PRI[span.slot, : span.rank], out=y_NI[span.rows])
    return y_NI


def add_outer(
    gradient_PRM: torch.Tensor,
    left_NR: torch.Tensor,
    right_NM: torch.Tensor,
    spans: Sequence[Span],
    ends_P: torch.Tensor,
    *,
    scaled: bool,
) -> None:
    """Add each slot's ``left' right``, times its scale if ``scaled``, to its float32 gradient."""
    if left_NR.is_cuda:
        found_PRM = torch.nn.functional.grouped_mm(left_NR.t(), right_NM, offs=ends_P).float()
        gradient_PRM += found_PRM * _scales(spans, gradient_PRM) if scaled else found_PRM
        return
    for span in spans:
        found_RM = left_NR[span.rows, : span.rank].t() @ right_NM[span.rows]
        gradient_PRM[span.slot, : span.rank].add_(found_RM, alpha=span.scale if scaled else 1.0)


def _scales(spans: Sequence[Span], like_P: torch.Tensor) -> torch.Tensor:
    scales_P = torch.zeros(like_P.shape[0])
    for span in spans:
        scales_P[span.slot] = span.scale
    return scales_P[:, None, None].to(like_P)
