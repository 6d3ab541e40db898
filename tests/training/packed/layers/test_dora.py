"""A packed layer rescales the rows of slots with DoRA as the equation says, also with dropout."""

import pytest
import torch
from torch import nn

from orchestrator.training.packed.autograd import apply
from orchestrator.training.packed.layers.dora import DoraFunction, Magnitudes
from orchestrator.training.packed.layers.frozen import FrozenWeight
from orchestrator.training.packed.layers.lora import LoopedProducts, LoRAFunction, SlotRows
from orchestrator.training.packed.layout.blocks import batch_layout
from orchestrator.training.packed.masks.dropout_masks import BitMask

ADAPTED = {0: (3, 2.0), 1: (5, 0.5), 2: (4, 1.7)}
"""Rank and scaling by slot; slot 1 has no DoRA, slot 2 has no dropout."""
DORA = {0, 2}
INPUTS, OUTPUTS, RANK = 24, 40, 8


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("drop_probs", [{}, {0: 0.25, 1: 0.5}], ids=["whole", "dropped"])
def test_gradients_equal_the_equation(drop_probs: dict[int, float], bias: bool) -> None:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    layout = batch_layout(torch.ones(9, 4), {0: 4, 1: 2, 2: 3}, 3, torch.float32)
    base = nn.Linear(INPUTS, OUTPUTS, bias=bias).requires_grad_(False)
    frozen = FrozenWeight.from_layer(base)
    a_PRI, b_PRO = nn.Parameter(torch.zeros(3, RANK, INPUTS)), nn.Parameter(torch.zeros(3, RANK, OUTPUTS))
    for slot, (rank, _) in ADAPTED.items():
        a_PRI.data[slot, :rank], b_PRO.data[slot, :rank] = normal(rank, INPUTS) / 5, normal(rank, OUTPUTS) / 5
    m_PO = nn.Parameter(normal(3, OUTPUTS).abs() + 0.5)
    x_NI, dy_NO = normal(36, INPUTS).requires_grad_(), normal(36, OUTPUTS)
    keep_NI = torch.rand(36, INPUTS, generator=draw) > 0.3
    for slot, rows in layout.slot_ranges(36):
        if not drop_probs.get(slot):
            keep_NI[rows] = True
    leaves = (x_NI, a_PRI, b_PRO, m_PO)

    expected_NO = torch.cat([_by_equation(leaves, base, keep_NI, drop_probs, *part) for part in layout.slot_ranges(36)])
    expected_NO.backward(dy_NO)
    expected = [expected_NO, *(leaf.grad for leaf in leaves)]
    for leaf in leaves:
        leaf.grad = torch.zeros_like(leaf)

    mask = BitMask(keep_NI.to(torch.int32).neg()) if drop_probs else None
    scales = {slot: scale / (1.0 - drop_probs.get(slot, 0.0)) for slot, (_, scale) in ADAPTED.items()}
    slot_rows = [SlotRows(slot, slot, rows, ADAPTED[slot][0], scales[slot]) for slot, rows in layout.slot_ranges(36)]
    products = LoopedProducts(slot_rows, a_PRI.detach(), b_PRO.detach())
    y_NO = apply(LoRAFunction, x_NI, a_PRI, b_PRO, frozen, base.bias, products, mask)
    rescaled = Magnitudes(frozen, a_PRI, b_PRO, m_PO).rescaled(layout, 36, ADAPTED, DORA, drop_probs)
    y_NO = apply(DoraFunction, x_NI, y_NO, m_PO, rescaled, frozen, base.bias, mask)
    y_NO.backward(dy_NO)
    for found, wanted in zip([y_NO, *(leaf.grad for leaf in leaves)], expected, strict=True):
        assert found is not None
        assert wanted is not None
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def _by_equation(
    leaves: tuple[torch.Tensor, ...],
    base: nn.Linear,
    keep_NI: torch.Tensor,
    drop_probs: dict[int, float],
    slot: int,
    rows: slice,
) -> torch.Tensor:
    """Return a slot's output by the equation of DoRA (or LoRA); its length is constant in the gradient."""
    x_NI, a_RI, b_RO, m_O = leaves[0][rows], leaves[1][slot], leaves[2][slot], leaves[3][slot]
    dropped_NI = x_NI * keep_NI[rows] / (1.0 - drop_probs.get(slot, 0.0))
    update_NO = ADAPTED[slot][1] * dropped_NI @ a_RI.t() @ b_RO
    if slot not in DORA:
        return torch.add(base(x_NI), update_NO)
    norms_O = (base.weight + ADAPTED[slot][1] * b_RO.t() @ a_RI).norm(dim=1).detach()
    undropped_NO = (x_NI - dropped_NI) @ base.weight.t()
    scaled_NO = m_O / norms_O * (dropped_NI @ base.weight.t() + update_NO)
    return torch.add(undropped_NO, scaled_NO) + (0.0 if base.bias is None else base.bias)
