"""A device limits the tokens of a forward with every row padded to the longest row."""

from contextlib import closing
from pathlib import Path

import pytest
import torch

from orchestrator.training.packed.execution.stepper import SPREAD_TOKENS, Stepper
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import World, task

ROWS = 4


def trained(folder: Path, device: str, spread_tokens: int) -> tuple[list[float], list[int]]:
    """Train four trials for one batch each; return their losses, and the rows of each forward."""
    world = World(tiny_bert(folder / "model"), TinyClassification(), folder / "sweep", device=device)
    rows = list[int]()

    def count_rows(_: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        rows.append(len(kwargs["input_ids"]))

    world.pack.model.register_forward_pre_hook(count_rows, with_kwargs=True)
    slot_trials = [world.slot_trial(task(number, dropout=0.2, batch_size=ROWS)) for number in range(4)]
    tokenizer = world.data.tokenizer
    with closing(Stepper(world.pack, world.objective, tokenizer, 2, 1, spread_tokens=spread_tokens)) as stepper:
        assert not stepper.step(slot_trials)
    return [slot_trial.loss for slot_trial in slot_trials], rows


def test_spread_limit_splits_forwards_and_keeps_losses(tmp_path: Path, device: str) -> None:
    together, rows = trained(tmp_path / "together", device, SPREAD_TOKENS)
    assert rows == [4 * ROWS]
    apart, rows = trained(tmp_path / "apart", device, 1)
    assert rows == [ROWS] * 4
    assert apart == pytest.approx(together, rel=1e-5)
