"""Training on a GPU never waits for the device, and grouped products are used where it has a kernel."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.packed.layers.lora import has_grouped_kernel
from orchestrator.training.packed.slots.updates import apply_updates, gradient_norms
from tests import needs
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import World, task

pytestmark = needs.cuda


@pytest.fixture
def waits_are_errors() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_training_does_not_synchronise_with_device(
    dtype: torch.dtype, tmp_path: Path, device: str, waits_are_errors: None
) -> None:
    world = World(tiny_bert(tmp_path / "model"), TinyClassification(), tmp_path / "sweep", packed=False, device=device)
    world.pack = Pack(world.source, world.objective, device, dtype)
    world.stepper = Stepper(world.pack, world.objective, world.data.tokenizer, threads=1)
    slot_trials = [
        world.slot_trial(task(0, rank=4, dropout=0.1)),
        world.slot_trial(task(1, rank=16, batch_size=3, label_smoothing=0.1)),
        world.slot_trial(task(2, target_modules="query")),
    ]
    world.stepper.step(slot_trials)  # the first batch asks the device what it can do, and takes its memory
    torch.cuda.set_sync_debug_mode("error")
    world.stepper.backward(slot_trials[:2])
    updates = [slot_trial.current_update() for slot_trial in slot_trials[:2]]
    gradient_norms(world.pack.parameters, updates)
    apply_updates(world.pack.parameters, updates, [0.1, 0.2])


def test_grouped_products_need_a_kernel() -> None:
    has_kernel = torch.cuda.get_device_capability()[0] in {9, 10}
    assert has_grouped_kernel(torch.device("cuda", 0), torch.bfloat16) is has_kernel
    assert not has_grouped_kernel(torch.device("cuda", 0), torch.float32)
