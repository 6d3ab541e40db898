"""The contract of dropout masks, on the device of the fixture ``device``.

B rows, T tokens of the longest row, D features.
"""

import pytest
import torch

from orchestrator.training.packed.layout.blocks import Layout, batch_layout
from orchestrator.training.packed.masks.create import create_masks
from orchestrator.training.packed.masks.dropout_masks import DropoutMasks
from orchestrator.training.packed.masks.streams import DropoutStream

SLOT = 1
"""The slot of the trial under test."""
TRIAL = (3, 2, 3)
"""Tokens of the trial's rows."""
NEIGHBOURS = {"before": {0: (5, 1), 1: TRIAL}, "behind": {1: TRIAL, 2: (7, 4)}, "shorter": {0: (2, 2), 1: TRIAL}}
"""Tokens of each row by slot."""
DROP_PROB = 0.25
WIDTH = 64


def layout_of(lengths: dict[int, tuple[int, ...]], device: str) -> Layout:
    """Return the layout of rows with these numbers of tokens, by slot."""
    mask_BT = torch.nn.utils.rnn.pad_sequence([torch.ones(row) for rows in lengths.values() for row in rows], True)
    counts = {slot: len(rows) for slot, rows in lengths.items()}
    return batch_layout(mask_BT.long(), counts, 3, torch.float32, device=device)


def masks_of(layout: Layout) -> DropoutMasks:
    """Return new masks: the trial drops a quarter, its neighbours three quarters."""
    probs = {block.slot: DROP_PROB if block.slot == SLOT else 0.75 for block in layout.blocks}
    streams = {slot: DropoutStream(slot, prob, layout.device) for slot, prob in probs.items()}
    return create_masks(streams, layout.device)


def dropped(layout: Layout, values: torch.Tensor, drop_prob: float | None) -> torch.Tensor:
    """Return the trial's values under two consecutive masks, by mask, row, token and feature."""
    masks = masks_of(layout)
    outputs = [masks.vector_mask(layout, values, drop_prob, 5, {SLOT}).apply(values).view(-1, WIDTH) for _ in range(2)]
    block = next(block for block in layout.blocks if block.slot == SLOT)
    part = dict(layout.slot_ranges(len(outputs[0])))[SLOT]
    return torch.stack([output[part].view(block.num_rows, -1, WIDTH)[:, : block.length] for output in outputs])


class MaskContract:
    """Tests of ``DropoutMasks``."""

    @pytest.mark.parametrize("drop_prob", [DROP_PROB, None], ids=["the base's", "its own"])
    @pytest.mark.parametrize("neighbours", NEIGHBOURS.values(), ids=NEIGHBOURS)
    def test_masks_are_independent_of_neighbours(
        self, neighbours: dict[int, tuple[int, ...]], drop_prob: float | None, device: str
    ) -> None:
        """For flat tokens, for rows, and for rows padded to the longest row of the batch."""
        alone, beside = layout_of({SLOT: TRIAL}, device), layout_of(neighbours, device)
        for shape in (lambda at: (at.num_tokens,), lambda at: (at.num_rows,), lambda at: (at.num_rows, at.longest)):
            expected, output = (
                dropped(at, torch.ones(*shape(at), WIDTH, device=device), drop_prob) for at in (alone, beside)
            )
            assert torch.equal(output, expected)
            assert not torch.equal(output[0], output[1])
            assert (output == 0).float().mean().item() == pytest.approx(DROP_PROB, abs=0.12)

    def test_mask_repeats_at_every_use(self, device: str) -> None:
        """A backward applies the mask of its forward again: scaled, in place or not."""
        layout = layout_of({SLOT: TRIAL}, device)
        values = torch.ones(1, layout.num_tokens, WIDTH, device=device)
        mask = masks_of(layout).vector_mask(layout, values, DROP_PROB, 5, None)
        output = mask.apply(values)
        assert set(output.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(mask.apply(values), output)
        assert torch.equal(mask.apply(values, 1.5), 1.5 * output)
        assert torch.equal(values, torch.ones_like(values))
        assert torch.equal(mask.apply_(values), output)
        assert torch.equal(values, output)

    def test_no_dropout_keeps_every_value(self, device: str) -> None:
        layout = layout_of({SLOT: TRIAL}, device)
        values = torch.ones(1, layout.num_tokens, WIDTH, device=device)
        assert torch.equal(masks_of(layout).vector_mask(layout, values, 0.0, 5, None).apply(values), values)

    def test_attention_mask_repeats_from_the_seed(self, device: str) -> None:
        layout = layout_of({SLOT: (9, 9)}, device)
        weights_XTS = torch.ones(2 * 4, 9, 9, device=device)
        block = layout.blocks[0] if device == "cpu" else layout.single_block  # a device computes all slots at once
        first, second = (
            masks_of(layout).attention_mask(block, weights_XTS, DROP_PROB, 7).apply(weights_XTS) for _ in range(2)
        )
        assert torch.equal(first, second)
        assert (first == 0).float().mean().item() == pytest.approx(DROP_PROB, abs=0.1)
