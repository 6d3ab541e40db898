"""Fused attention equals plain attention at every token without padding, gradients included."""

import pytest
import torch

from orchestrator.training.packed.layers.attention import uses_fused_kernels
from orchestrator.training.packed.layers.fused_attention import fused_attention
from orchestrator.training.packed.layers.plain_attention import AttentionTerms, plain_attention
from orchestrator.training.packed.layout.blocks import Layout, batch_layout

HEADS, WIDTH = 4, 8
SLOTS: dict[str, dict[int, tuple[int, ...]]] = {
    "one": {0: (5, 3)},
    "of one length": {0: (6, 6), 1: (6, 2), 3: (6,)},
    "of several": {0: (4, 1), 1: (7,), 2: (7, 7, 3), 4: (1,), 5: (4, 4)},
}
"""Lengths of each slot's rows; other slots have no rows."""
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


def layout_of(lengths: dict[int, tuple[int, ...]], dtype: torch.dtype, device: str) -> tuple[Layout, torch.Tensor]:
    """Return a layout, and a mask of its tokens without padding."""
    rows = [length for some in lengths.values() for length in some]
    mask_BT = torch.tensor([[int(token < length) for token in range(max(rows))] for length in rows])
    counts = {slot: len(some) for slot, some in lengths.items()}
    layout = batch_layout(mask_BT, counts, max(lengths) + 1, dtype, device=device)
    return layout, layout.flatten(mask_BT.to(device))[0].bool()


def random_heads(layout: Layout, heads: int, dtype: torch.dtype, draw: torch.Generator) -> torch.Tensor:
    """Return ``values_1HND`` in the memory layout of models: 1 × N × H × D, transposed."""
    values_1NHD = torch.randn(1, layout.num_tokens, heads, WIDTH, generator=draw)
    return values_1NHD.to(layout.device, dtype).transpose(1, 2).requires_grad_()


def compare(
    asking: tuple[Layout, torch.Tensor], read: Layout, copies: int, dtype: torch.dtype, *, causal: bool
) -> None:
    layout, real_N = asking
    draw = torch.Generator().manual_seed(0)
    query, key, value = (
        random_heads(layout, HEADS, dtype, draw),
        *(random_heads(read, HEADS // copies, dtype, draw) for _ in "kv"),
    )
    weights_NHD = torch.randn(layout.num_tokens, HEADS, WIDTH, generator=draw).to(layout.device, dtype)
    terms = AttentionTerms(
        pairs=[*zip(layout.blocks, read.blocks, strict=True)],
        masks=None,
        site=0,
        scale=0.3,
        causal=causal,
        drop_prob=0.0,
        bias_1HTS=None,
    )
    runs = [(run, run) for run in layout.runs] if read is layout else terms.pairs
    results = []
    for output_1NHD in (
        plain_attention(query, key, value, terms),
        fused_attention(query, key, value, runs, scale=0.3, causal=causal),
    ):
        real_NHD = output_1NHD[0, real_N]
        gradients = torch.autograd.grad((real_NHD * weights_NHD[real_N]).sum(), (query, key, value))
        results.append([real_NHD, *gradients])
    for plain, fused in zip(*results, strict=True):
        assert fused.dtype is dtype
        assert plain.abs().max() > 0.1
        torch.testing.assert_close(fused, plain, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("copies", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True], ids=["both ways", "causal"])
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("slots", SLOTS)
def test_fused_attention_equals_plain_attention(
    slots: str, padded: bool, causal: bool, copies: int, dtype: torch.dtype, device: str
) -> None:
    lengths = {slot: rows if padded else (max(rows),) * len(rows) for slot, rows in SLOTS[slots].items()}
    asking = layout_of(lengths, dtype, device)
    compare(asking, asking[0], copies, dtype, causal=causal)


def test_fused_cross_attention_equals_plain_attention(device: str) -> None:
    read, _ = layout_of({0: (3, 8), 1: (8,), 4: (2, 2, 1)}, torch.float32, device)
    asking = layout_of({0: (4, 4), 1: (4,), 4: (1, 5, 2)}, torch.float32, device)
    compare(asking, read, 1, torch.float32, causal=False)


def test_adjacent_blocks_of_same_length_form_one_run() -> None:
    layout, _ = layout_of(SLOTS["of several"], torch.float32, "cpu")
    runs = [(run.rows, run.tokens, run.length) for run in layout.runs]
    assert runs == [
        (slice(0, 2), slice(0, 8), 4),
        (slice(2, 6), slice(8, 36), 7),
        (slice(6, 7), slice(36, 37), 1),
        (slice(7, 9), slice(37, 45), 4),
    ]
    bias_B11T = layout.runs[1].bias_B11T
    assert bias_B11T is not None
    assert bias_B11T[:, 0, 0].isinf().sum(1).tolist() == [0, 0, 0, 4]
    assert layout.runs[3].bias_B11T is None


def test_fused_kernels_need_cuda_without_dropout_and_bias() -> None:
    cuda, bias = torch.device("cuda", 0), torch.zeros(1, HEADS, 2, 2)
    assert uses_fused_kernels(cuda, 0.0, None)
    assert not uses_fused_kernels(cuda, 0.1, None)
    assert not uses_fused_kernels(cuda, 0.0, bias)
    assert not uses_fused_kernels(torch.device("cpu"), 0.0, None)
