"""What is dropped of a trial's values is the same whatever stands beside them."""

import pytest
import torch

from orchestrator.training.packed.layout.blocks import Layout, batch_layout
from orchestrator.training.packed.masks.host import DropoutStream, create_masks

OWN = (3, 2, 3)
"""Tokens of the trial's rows."""
NEIGHBOURS = {"before": {0: (5, 1), 1: OWN}, "behind": {1: OWN, 2: (7, 4)}, "shorter": {0: (2, 2), 1: OWN}}
SHARE = 0.25
WIDTH = 64


def layout_of(lengths: dict[int, tuple[int, ...]], device: str) -> Layout:
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(each) for own in lengths.values() for each in own], True)
    shares = {slot: SHARE if slot == 1 else 0.75 for slot in lengths}
    draws = create_masks({slot: DropoutStream(slot, share, device) for slot, share in shares.items()}, device)
    rows = {slot: len(own) for slot, own in lengths.items()}
    return batch_layout(mask.long(), rows, 3, torch.float32, draws, device=device)


def kept(layout: Layout, values: torch.Tensor, share: float | None) -> torch.Tensor:
    """Return what is kept of the trial's values, twice, as rows, tokens and what a value is made of."""
    assert layout.draws is not None
    masks = [layout.draws.rows(layout, values, share, 5, {1}) for _ in range(2)]
    found = [mask.of(values).view(-1, WIDTH) for mask in masks]
    block = next(block for block in layout.blocks if block.slot == 1)
    part = dict(layout.parts(len(found[0])))[1]
    return torch.stack([each[part].view(block.num_rows, -1, WIDTH)[:, : block.length] for each in found])


@pytest.mark.parametrize("share", [SHARE, None], ids=["the base's", "its own"])
@pytest.mark.parametrize("neighbours", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_neighbours_with_longer_rows_change_no_mask(
    neighbours: dict[int, tuple[int, ...]], share: float | None, device: str
) -> None:
    """As tokens side by side, as rows, and as rows that are padded to the longest of all."""
    alone, beside = layout_of({1: OWN}, device), layout_of(neighbours, device)
    for shape in (lambda at: (at.num_tokens,), lambda at: (at.num_rows,), lambda at: (at.num_rows, at.longest)):
        expected, found = (kept(at, torch.ones(*shape(at), WIDTH, device=device), share) for at in (alone, beside))
        assert torch.equal(found, expected)
        assert not torch.equal(found[0], found[1])
        assert (found == 0).float().mean().item() == pytest.approx(SHARE, abs=0.12)
