"""Looped and grouped products have the same outputs and gradients."""

import pytest
import torch
from torch import nn

from orchestrator.training.packed.autograd import apply
from orchestrator.training.packed.layers.frozen import FrozenWeight
from orchestrator.training.packed.layers.lora import (
    GroupedProducts,
    LoopedProducts,
    LoRAFunction,
    SlotRows,
    has_grouped_kernel,
)
from orchestrator.training.packed.layout.blocks import batch_layout
from orchestrator.training.packed.masks.dropout_masks import BitMask

INPUTS, OUTPUTS, RANK, SLOTS = 24, 40, 16, 5
ADAPTED = {0: (3, 2.0), 1: (16, 0.5), 2: (8, 1.7)}
"""Rank and scale by slot; slots 3 and 4 do not adapt the layer."""
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}
PRESENT: dict[str, dict[int, list[int]]] = {
    "all": {0: [4, 2], 1: [7], 2: [1], 3: [5, 5], 4: [3]},
    "some": {0: [4, 2], 2: [9, 9, 1], 3: [2]},
    "one": {1: [6, 1]},
    "the last": {2: [3], 4: [6]},
}
"""Lengths of the rows by slot; other slots have no rows."""


class Layer:
    """A frozen layer with stacked adapters, and one batch of the slots with rows."""

    def __init__(self, present: str, dtype: torch.dtype, device: str) -> None:
        draw = torch.Generator().manual_seed(0)
        lengths = PRESENT[present]
        rows = [length for some in lengths.values() for length in some]
        mask_BT = torch.tensor([[int(token < length) for token in range(max(rows))] for length in rows])
        counts = {slot: len(some) for slot, some in lengths.items()}
        self.layout = batch_layout(mask_BT, counts, SLOTS, dtype, device=device)
        base = nn.Linear(INPUTS, OUTPUTS).requires_grad_(False).to(device, dtype)
        self.frozen, self.bias_O = FrozenWeight.from_layer(base), base.bias
        a_PRI, b_PRO = torch.zeros(SLOTS, RANK, INPUTS), torch.zeros(SLOTS, RANK, OUTPUTS)
        for slot, (rank, _) in ADAPTED.items():
            a_PRI[slot, :rank] = torch.randn(rank, INPUTS, generator=draw) / 5
            b_PRO[slot, :rank] = torch.randn(rank, OUTPUTS, generator=draw) / 5
        self.a_PRI, self.b_PRO = (nn.Parameter(stack.to(device)) for stack in (a_PRI, b_PRO))
        tokens = self.layout.num_tokens
        self.x_NI = torch.randn(tokens, INPUTS, generator=draw).to(device, dtype).requires_grad_()
        self.dy_NO = torch.randn(tokens, OUTPUTS, generator=draw).to(device, dtype)
        keep = torch.rand(tokens, INPUTS, generator=draw) > 0.3
        self.bits_NI = keep.to(device, torch.int16 if dtype is torch.bfloat16 else torch.int32).neg()

    def slot_rows(self) -> list[SlotRows]:
        parts = self.layout.slot_ranges(self.layout.num_tokens)
        return [SlotRows(slot, slot, rows, *ADAPTED[slot]) for slot, rows in parts if slot in ADAPTED]

    def grouped(self) -> GroupedProducts:
        """Return grouped products of the slots with rows; B is scaled."""
        scales_P = [ADAPTED[slot][1] if slot in ADAPTED else 0.0 for slot in range(SLOTS)]
        stacked = (self.a_PRI, self.b_PRO, torch.tensor(scales_P).to(self.layout.device))
        a_GRI, b_GRO, scales_G = (self.layout.select_slots(values) for values in stacked)
        b_GRO = b_GRO * scales_G[:, None, None]
        dtype = self.x_NI.dtype
        return GroupedProducts(
            self.layout.groups(self.layout.num_tokens), a_GRI.detach().to(dtype), b_GRO.detach().to(dtype)
        )

    def looped(self) -> LoopedProducts:
        dtype = self.x_NI.dtype
        return LoopedProducts(self.slot_rows(), self.a_PRI.detach().to(dtype), self.b_PRO.detach().to(dtype))

    def outputs(self, *, as_groups: bool, dropped: bool) -> list[torch.Tensor]:
        """Return the output, the input's gradient, and the stacked gradients after two batches."""
        leaves = (self.x_NI, self.a_PRI, self.b_PRO)
        for leaf in leaves:
            leaf.grad = None
        self.a_PRI.grad = torch.ones_like(self.a_PRI)  # of earlier batches
        self.b_PRO.grad = torch.zeros_like(self.b_PRO)
        mask = BitMask(self.bits_NI) if dropped else None
        for _ in range(2):
            products = self.grouped() if as_groups else self.looped()
            y_NO = apply(LoRAFunction, self.x_NI, self.a_PRI, self.b_PRO, self.frozen, self.bias_O, products, mask)
            y_NO.backward(self.dy_NO)
        if as_groups:
            for slot, (_, scale) in ADAPTED.items():
                self.b_PRO.grad[slot] *= scale
        return [y_NO.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("present", PRESENT)
@pytest.mark.parametrize("dropped", [False, True], ids=["whole", "dropped"])
def test_grouped_products_equal_looped_products(present: str, dropped: bool, dtype: torch.dtype, device: str) -> None:
    layer = Layer(present, dtype, device)
    looped, grouped = (layer.outputs(as_groups=way, dropped=dropped) for way in (False, True))
    for one, other in zip(looped, grouped, strict=True):
        assert other.dtype is one.dtype
        scale = one.float().abs().max().item()
        torch.testing.assert_close(other, one, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)
    absent = [slot for slot in range(SLOTS) if slot not in PRESENT[present] or slot not in ADAPTED]
    for start, grad_PRW in ((1.0, grouped[2]), (0.0, grouped[3])):
        assert (grad_PRW[absent] == start).all()


def test_grouped_kernel_needs_cuda_and_bfloat16() -> None:
    assert not has_grouped_kernel(torch.device("cpu"), torch.bfloat16)
    assert not has_grouped_kernel(torch.device("cuda", 0), torch.float32)
