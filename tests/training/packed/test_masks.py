"""A trial's dropout masks are the same alone and beside any neighbours."""

import pytest
import torch

from orchestrator.training.packed.layout.blocks import Layout, batch_layout
from orchestrator.training.packed.masks.create import create_masks
from orchestrator.training.packed.masks.streams import DropoutStream

TRIAL = (3, 2, 3)
"""Tokens of the trial's rows."""
NEIGHBOURS = {"before": {0: (5, 1), 1: TRIAL}, "behind": {1: TRIAL, 2: (7, 4)}, "shorter": {0: (2, 2), 1: TRIAL}}
"""Tokens of each row by slot; the trial has slot 1."""
DROP_PROB = 0.25
WIDTH = 64


def layout_of(lengths: dict[int, tuple[int, ...]], device: str) -> Layout:
    mask_BT = torch.nn.utils.rnn.pad_sequence([torch.ones(row) for rows in lengths.values() for row in rows], True)
    counts = {slot: len(rows) for slot, rows in lengths.items()}
    return batch_layout(mask_BT.long(), counts, 3, torch.float32, device=device)


def dropped(layout: Layout, values: torch.Tensor, drop_prob: float | None) -> torch.Tensor:
    """Return the trial's values under two consecutive masks, by mask, row, token and feature."""
    probs = {block.slot: DROP_PROB if block.slot == 1 else 0.75 for block in layout.blocks}
    streams = {slot: DropoutStream(slot, prob, layout.device) for slot, prob in probs.items()}
    masks = create_masks(streams, layout.device)
    outputs = [masks.vector_mask(layout, values, drop_prob, 5, {1}).apply(values).view(-1, WIDTH) for _ in range(2)]
    block = next(block for block in layout.blocks if block.slot == 1)
    part = dict(layout.slot_ranges(len(outputs[0])))[1]
    return torch.stack([output[part].view(block.num_rows, -1, WIDTH)[:, : block.length] for output in outputs])


@pytest.mark.parametrize("drop_prob", [DROP_PROB, None], ids=["the base's", "its own"])
@pytest.mark.parametrize("neighbours", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_masks_are_independent_of_neighbours(
    neighbours: dict[int, tuple[int, ...]], drop_prob: float | None, device: str
) -> None:
    """For flat tokens, for rows, and for rows padded to the longest row of the batch."""
    alone, beside = layout_of({1: TRIAL}, device), layout_of(neighbours, device)
    for shape in (lambda at: (at.num_tokens,), lambda at: (at.num_rows,), lambda at: (at.num_rows, at.longest)):
        expected, output = (
            dropped(at, torch.ones(*shape(at), WIDTH, device=device), drop_prob) for at in (alone, beside)
        )
        assert torch.equal(output, expected)
        assert not torch.equal(output[0], output[1])
        assert (output == 0).float().mean().item() == pytest.approx(DROP_PROB, abs=0.12)
