"""What a decoder writes has a layout of its own, and layers can tell which of the two they are given."""

from pathlib import Path

import pytest
import torch

from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Example
from orchestrator.training.packed.layout import lay_out
from tests.fakes.tiny_models import tiny_t5, without_dropout
from tests.fakes.tiny_objective import TinySeq2Seq
from tests.training.packed.packs import World, task


def masks(*lengths: int) -> torch.Tensor:
    return torch.tensor([[int(token < length) for token in range(max(lengths))] for length in lengths])


def test_a_decoders_layout_stands_beside_its_encoders() -> None:
    read = lay_out(masks(3, 2, 4, 4), {0: 2, 2: 2}, 3, torch.float32)
    written = read.beside(masks(4, 1, 2, 3), torch.float32)
    assert [(block.slot, block.rows, block.length) for block in written.blocks] == [
        (0, slice(0, 2), 4),
        (2, slice(2, 4), 3),
    ]
    assert read.num_tokens == written.num_tokens == 14  # so numbers of tokens tell nothing
    for own in (torch.zeros(1, 14, 8), torch.zeros(4, 4, 8), torch.zeros(4, 8)):
        assert written.of(own) is written
        assert read.of(own) is read
    assert written.of(torch.zeros(14, 1, 8)) is read


@pytest.mark.parametrize("lengths", [((3, 4), (4, 3)), ((1, 7), (7, 1)), ((1, 1), (1, 1)), ((1, 1), (5, 2))])
def test_slots_that_read_as_much_as_they_write_are_told_apart(
    tmp_path: Path, lengths: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    world = World(without_dropout(tiny_t5(tmp_path / "model")), TinySeq2Seq(), tmp_path / "sweep")
    draw = torch.Generator().manual_seed(0)

    def example(read: int, written: int) -> Example:
        ids = torch.randint(7, 100, (read + written,), generator=draw).tolist()
        return {"input_ids": ids[:read], "labels": ids[read:]}

    tasks = [task(0, rank=4), task(1, rank=16)]
    seats = [world.seat(trial, b_std=0.2) for trial in tasks]
    rows = [example(*pair) for pair in zip(*lengths, strict=True)]
    batch = world.objective.collate(rows, world.data.tokenizer)
    world.pack.model.eval()
    layout = lay_out(batch["attention_mask"], {seat.slot: 1 for seat in seats}, 2, torch.float32)
    with torch.inference_mode():
        logits = world.pack.logits(batch, layout)
        for row, trial in enumerate(tasks):
            alone = world.objective.collate(rows[row : row + 1], world.data.tokenizer)
            expected = forward(world.peft(trial, b_std=0.2).model.eval(), alone)
            torch.testing.assert_close(logits[row, : expected.shape[1]], expected[0], rtol=0, atol=1e-5)
