"""A batch is told to the device without waiting for it; and what is chosen there is what the device has kernels for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from orchestrator.training.packed.layout import lay_out
from orchestrator.training.packed.pack import Pack
from orchestrator.training.packed.products import Grouped, Loop, Span, products_of
from orchestrator.training.packed.randomness import SlotRandom
from orchestrator.training.packed.stepping import Stepper
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
def test_forward_and_backward_wait_for_nothing(
    dtype: torch.dtype, tmp_path: Path, device: str, waits_are_errors: None
) -> None:
    world = World(tiny_bert(tmp_path / "model"), TinyClassification(), tmp_path / "sweep", packed=False, device=device)
    world.pack = Pack(world.source, world.objective, device, dtype)
    world.stepper = Stepper(world.pack, world.objective, world.data.tokenizer, threads=1)
    seats = [
        world.seat(task(0, rank=4, dropout=0.1)),
        world.seat(task(1, rank=16, batch_size=3, label_smoothing=0.1)),
        world.seat(task(2, target_modules="query")),
    ]
    world.stepper.step(seats)  # the first batch asks the device what it can do, and takes its memory
    torch.cuda.set_sync_debug_mode("error")
    world.stepper.backward(seats[:2])
    for seat in seats[:2]:
        torch._foreach_mul_([*seat.gradients().values()], 0.1)
        seat.close_update()


def test_products_are_grouped_where_one_kernel_computes_them(device: str) -> None:
    layout = lay_out(torch.ones(2, 4), {0: 1, 1: 1}, 2, torch.bfloat16, device=device)
    spans = [Span(0, slice(0, 4), 8, 1.0)]
    has_kernel = torch.cuda.get_device_capability()[0] in {9, 10}
    for dtype, kind in ((torch.bfloat16, Grouped if has_kernel else Loop), (torch.float32, Loop)):
        assert type(products_of(torch.zeros(8, 16, dtype=dtype, device=device), spans, layout)) is kind


def test_a_slots_masks_go_on_where_they_were_saved(device: str) -> None:
    random, kept = SlotRandom(3, 0.25, device), torch.empty(4000, 8, dtype=torch.int16, device=device)
    random.keep(kept, 0.25)
    assert {*torch.unique(kept).tolist()} == {-1, 0}
    assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    state = random.state()
    random.keep(kept, 0.25)
    other, again = SlotRandom(4, 0.25, device), torch.empty_like(kept)
    other.restore(state)
    other.keep(again, 0.25)
    assert torch.equal(kept, again)
