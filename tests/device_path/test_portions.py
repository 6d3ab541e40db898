"""A forward of a device is bounded by what its rows take when they are all as long as the longest."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from orchestrator.training.packed import stepping
from orchestrator.training.packed.execution.pack import Logits
from orchestrator.training.packed.layout.blocks import Layout
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import World, task


def trained(folder: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[int]]:
    """Train four trials by a batch each; return their losses, and how many had rows in each forward."""
    world = World(tiny_bert(folder / "model"), TinyClassification(), folder / "sweep", device=device)
    shared, forward = list[int](), world.pack.logits

    def counted(batch: Mapping[str, torch.Tensor], layout: Layout) -> Logits:
        shared.append(len(layout.blocks))
        return forward(batch, layout)

    monkeypatch.setattr(world.pack, "logits", counted)
    seats = [world.seat(task(number, dropout=0.2, batch_size=4)) for number in range(4)]
    assert not world.stepper.step(seats)
    return [seat.loss for seat in seats], shared


def test_rows_that_would_be_spread_too_far_are_computed_after_another(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, shared = trained(tmp_path / "together", device, monkeypatch)
    assert shared == [4]
    monkeypatch.setattr(stepping, "SPREAD_TOKENS", 1)
    apart, shared = trained(tmp_path / "apart", device, monkeypatch)
    assert shared == [1, 1, 1, 1]
    assert apart == pytest.approx(together, rel=1e-5)
