"""float16: each trial of a pack scales its loss, and an overflow of one trial leaves the others alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orchestrator.objective.protocol import Objective
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from tests.fakes.tiny_models import tiny_bert, tiny_llama, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinyClassification
from tests.training.packed.packs import POINTS, World, task

UPDATES = 16
RATE = 1e-3
MODELS: dict[str, tuple[Callable[[Path], Path], Objective]] = {
    "bert": (tiny_bert, TinyClassification()),
    "llama": (tiny_llama, TinyCausal()),
}


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(model: str, folder: Path, device: str, dtype: torch.dtype = torch.float16) -> World:
    build, objective = MODELS[model]
    return World(without_dropout(build(folder / "model")), objective, folder / "sweep", device=device, dtype=dtype)


def trials_of(world: World) -> list[SlotTrial]:
    first = task(0, schedule="constant", learning_rate=RATE)
    return [world.slot_trial(first), world.slot_trial(task(1, rank=16, batch_size=5, dropout=0.2))]


def train(world: World, trials: list[SlotTrial], updates: int) -> list[list[float]]:
    losses = []
    for _ in range(updates):
        assert not world.stepper.step(trials)
        losses.append([trial.loss for trial in trials])
    return losses


def test_float16_follows_float32(model: str, tmp_path: Path, device: str) -> None:
    rough, exact = (opened(model, tmp_path / str(dtype), device, dtype) for dtype in (torch.float16, torch.float32))
    found, expected = (train(world, trials_of(world), UPDATES) for world in (rough, exact))
    assert found != expected
    assert found == [pytest.approx(losses, rel=1e-3) for losses in expected]


def test_overflow_skips_updates_of_its_own_trial(model: str, tmp_path: Path, device: str) -> None:
    plain, overflowing = (opened(model, tmp_path / name, device) for name in ("plain", "overflowing"))
    expected = [losses[1] for losses in train(plain, trials_of(plain), UPDATES)]
    trials = trials_of(overflowing)
    scale = trials[0].loss_scale
    assert scale is not None
    scale.factor = 2.0**26
    found, steps, largest = list[float](), 0, 0.0
    while not steps:
        before = scale.factor
        found.append(train(overflowing, trials, 1)[0][1])
        steps = trials[0].update - scale.skipped
        largest = overflowing.pack.parameters.stacks["B"].values[trials[0].slot].abs().max().item()
        assert steps or (scale.factor, largest) == (before / 2, 0.0)
    assert 2 < scale.skipped < UPDATES
    assert largest == pytest.approx(RATE, rel=1e-2), "the first step of AdamW moves by the learning rate"
    assert found == expected[: len(found)]


def test_loss_scale_resumes_from_the_checkpoint(tmp_path: Path, device: str) -> None:
    world = opened("bert", tmp_path, device)
    trial = world.slot_trial(task(0, rank=8))
    assert trial.loss_scale is not None
    trial.loss_scale.factor = 2.0**26
    train(world, [trial], 10)
    trial.commit([POINTS[0]], {})
    expected, state = train(world, [trial], 5), trial.loss_scale.state()
    assert state["skipped"] > 2
    trial.leave()
    again = world.slot_trial(task(0, rank=8))
    assert train(world, [again], 5) == expected
    assert again.loss_scale is not None
    assert again.loss_scale.state() == state


def test_overflow_in_the_forward_is_divergence(tmp_path: Path, device: str) -> None:
    world = opened("bert", tmp_path, device)
    trials = trials_of(world)
    world.pack.parameters.stacks["A"].values[trials[0].slot].fill_(1e30)
    diverged = world.stepper.step(trials)
    assert [*diverged] == [0]
    assert "at update 1 in float16; training.precision: float32 has a wider range" in str(diverged[0])
