"""Encoder and decoder have separate layouts, and layers find the layout of their input."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Example, Objective
from orchestrator.training.packed.layout.blocks import batch_layout
from tests.fakes.tiny_models import tiny_gpt2, tiny_llama, tiny_t5, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinySeq2Seq
from tests.training.packed.packs import World, task


def masks(*lengths: int) -> torch.Tensor:
    return torch.tensor([[int(token < length) for token in range(max(lengths))] for length in lengths])


def test_layout_of_distinguishes_encoder_and_decoder_values() -> None:
    encoder = batch_layout(masks(3, 2, 4, 4), {0: 2, 2: 2}, 3, torch.float32)
    decoder = encoder.decoder_layout(masks(4, 1, 2, 3), torch.float32)
    assert [(block.slot, block.rows, block.length) for block in decoder.blocks] == [
        (0, slice(0, 2), 4),
        (2, slice(2, 4), 3),
    ]
    assert encoder.num_tokens == decoder.num_tokens == 14  # equal counts do not identify the layout
    for values in (torch.zeros(1, 14, 8), torch.zeros(4, 4, 8), torch.zeros(4, 8)):
        assert decoder.layout_of(values) is decoder
        assert encoder.layout_of(values) is encoder
    assert decoder.layout_of(torch.zeros(14, 1, 8)) is encoder


@pytest.mark.parametrize("lengths", [((3, 4), (4, 3)), ((1, 7), (7, 1)), ((1, 1), (1, 1)), ((1, 1), (5, 2))])
def test_equal_token_counts_keep_encoder_and_decoder_apart(
    tmp_path: Path, lengths: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    world = World(without_dropout(tiny_t5(tmp_path / "model")), TinySeq2Seq(), tmp_path / "sweep")
    draw = torch.Generator().manual_seed(0)

    def example(inputs: int, targets: int) -> Example:
        ids = torch.randint(7, 100, (inputs + targets,), generator=draw).tolist()
        return {"input_ids": ids[:inputs], "labels": ids[inputs:]}

    tasks = [task(0, rank=4), task(1, rank=16)]
    slot_trials = [world.slot_trial(trial, b_std=0.2) for trial in tasks]
    rows = [example(*pair) for pair in zip(*lengths, strict=True)]
    batch = world.objective.collate(rows, world.data.tokenizer)
    world.pack.model.eval()
    layout = batch_layout(batch["attention_mask"], {slot_trial.slot: 1 for slot_trial in slot_trials}, 2, torch.float32)
    with torch.inference_mode():
        logits = world.pack.logits(batch, layout).by_slot()
        for row, trial in enumerate(tasks):
            alone = world.objective.collate(rows[row : row + 1], world.data.tokenizer)
            expected = forward(world.peft(trial, b_std=0.2).model.eval(), alone)
            torch.testing.assert_close(logits[row], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "objective"), [(tiny_gpt2, TinyCausal()), (tiny_llama, TinyCausal()), (tiny_t5, TinySeq2Seq())]
)
def test_language_model_head_computes_no_padding_of_neighbours(
    build: Callable[[Path], Path], objective: Objective, tmp_path: Path
) -> None:
    world = World(build(tmp_path / "model"), objective, tmp_path / "sweep")
    slot_trials = [world.slot_trial(task(0, batch_size=2)), world.slot_trial(task(1, batch_size=3))]
    counts: list[int] = []

    def count(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        counts.append(inputs[0].shape[:-1].numel())

    world.pack.model.get_output_embeddings().register_forward_pre_hook(count)
    name = "labels" if world.pack.model.config.is_encoder_decoder else "input_ids"
    lengths = [[len(row[name]) for row in slot_trial.next_batch()] for slot_trial in slot_trials]
    assert name == "labels" or len({max(some) for some in lengths}) == 2, "rows of one length would show nothing"
    with closing(world.stepper):
        world.stepper.step(slot_trials)
    assert sum(counts) == sum(len(some) * max(some) for some in lengths)
