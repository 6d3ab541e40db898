"""A trial trains identically alone and beside neighbours, while those join, stop or diverge."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import DivergedError
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.data.order import data_order
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.packed.layout.blocks import batch_layout
from tests.fakes.tiny_models import tiny_bert, tiny_gpt2, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq, TinyTokens
from tests.training.packed.packs import POINTS, World, task

STEPS = 6
ALONE = 40
"""Updates of the watched trial alone. A long step makes several updates, but none beyond the next report."""
WATCHED: dict[type[Objective], TrialTask] = {
    kind: task(0, dropout=0.2, batch_size=5, accumulation=2, rank=3, target_modules=targets)
    for kind, targets in (
        (TinyClassification, "query,value"),
        (TinyTokens, "query,value"),
        (TinyCausal, "c_attn"),
        (TinySeq2Seq, "k,wo"),
    )
}
"""The watched trial by objective. The models have dropout, also in attention; neighbours adapt more layers."""

MODELS: dict[str, tuple[Callable[[Path], Path], type[Objective]]] = {
    "bert": (tiny_bert, TinyClassification),
    "bert-tokens": (tiny_bert, TinyTokens),
    "gpt2": (tiny_gpt2, TinyCausal),
    "t5": (tiny_t5, TinySeq2Seq),
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, device: str) -> World:
    build, objective = MODELS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return World(build(folder / "model"), objective(), folder / "sweep", device=device)


@pytest.fixture(scope="module")
def alone(world: World) -> list[float]:
    """Loss of the watched trial, alone, by number of updates, from NaN at zero updates."""
    slot_trial = world.slot_trial(WATCHED[type(world.objective)])
    losses = [slot_trial.loss]
    while len(losses) <= ALONE:
        world.stepper.step([slot_trial])
        if slot_trial.batches == 0:
            losses.append(slot_trial.loss)
            assert slot_trial.update == len(losses) - 1
    slot_trial.leave()
    return losses


class Neighbour(NamedTuple):
    """A neighbour, the steps at which it joins and leaves, and whether its parameters become NaN."""

    task: TrialTask
    joins: int
    leaves: int
    broken: bool


@st.composite
def neighbours(draw: st.DrawFn) -> Neighbour:
    chosen = task(
        draw(st.integers(1, 10_000)),
        rank=draw(st.sampled_from([1, 4, 16])),
        batch_size=draw(st.integers(1, 16)),
        accumulation=draw(st.integers(1, 2)),
        dropout=draw(st.sampled_from([0.0, 0.3])),
        dora=draw(st.booleans()),
        learning_rate=draw(st.sampled_from([1e-4, 1e-2])),
        max_length=draw(st.sampled_from([6, 32])),
        label_smoothing=draw(st.sampled_from([0.0, 0.1])),
        alpha=draw(st.sampled_from([4.0, 64.0])),
        rslora=draw(st.booleans()),
        init=draw(st.sampled_from(["default", "gaussian", "pissa"])),
        schedule=draw(st.sampled_from(["linear", "cosine", "constant", "wsd"])),
        warmup_ratio=draw(st.sampled_from([0.0, 0.5])),
        weight_decay=draw(st.sampled_from([0.0, 0.1])),
        lora_plus_ratio=draw(st.sampled_from([None, 4.0])),
        head_learning_rate=draw(st.sampled_from([None, 1e-3])),
        max_grad_norm=draw(st.sampled_from([0.01, 1.0])),
        epochs=draw(st.sampled_from([0.5, 2.0, 6.0])),
    )
    joins = draw(st.integers(0, STEPS - 1))
    return Neighbour(chosen, joins, draw(st.integers(joins + 1, STEPS)), draw(st.booleans()))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    others=st.lists(neighbours(), min_size=1, max_size=7, unique_by=lambda neighbour: neighbour.task.number),
    first=st.booleans(),
    tokens=st.sampled_from([1, 100, 300]),
)
def test_neighbours_change_nothing(
    world: World, alone: list[float], others: list[Neighbour], first: bool, tokens: int
) -> None:
    beside: dict[int, SlotTrial] = {}
    watched = world.slot_trial(WATCHED[type(world.objective)]) if first else None
    losses: dict[int, float] = {}
    stepper = Stepper(world.pack, world.objective, world.data.tokenizer, threads=2, tokens=tokens)
    try:
        for step in range(STEPS):
            for neighbour in others:
                if neighbour.joins == step:
                    joined = beside[neighbour.task.number] = world.slot_trial(neighbour.task)
                    if neighbour.broken:
                        name = next(iter(world.gradients(joined, neighbour.task)))
                        world.pack.view(joined.slot, name, torch.Size([1, 1])).fill_(float("nan"))
            watched = watched or world.slot_trial(WATCHED[type(world.objective)])
            diverged = stepper.step([watched, *beside.values()])
            assert 0 not in diverged
            losses[watched.update] = watched.loss
            for number, leaves in ((neighbour.task.number, neighbour.leaves) for neighbour in others):
                if number in beside and (number in diverged or leaves == step + 1 or finished(beside[number])):
                    stepper.forget(beside[number].slot)
                    beside.pop(number).leave()
    finally:
        stepper.close()
        for slot_trial in [*beside.values(), *([watched] if watched else [])]:
            slot_trial.leave()
    assert max(losses) >= STEPS // 2
    assert losses == pytest.approx({update: alone[update] for update in losses}, rel=1e-5, nan_ok=True)


def finished(slot_trial: SlotTrial) -> bool:
    return slot_trial.update == len(slot_trial.update_plan.order)


def test_trial_resumes_identically_in_another_slot(world: World, alone: list[float]) -> None:
    watched = replace(WATCHED[type(world.objective)], number=20_000)
    before = world.slot_trial(watched)
    others = [world.slot_trial(task(number, rank=16, dropout=0.3)) for number in (1, 2)]
    slot = before.slot
    while before.update < before.update_plan.due[POINTS[0]]:
        world.stepper.step([before, others[0]] if before.update % 3 else [before])
    before.commit([POINTS[0]], {})
    before.leave()
    others.append(world.slot_trial(task(3, rank=32, batch_size=3)))  # occupies the free slot
    resumed = world.slot_trial(watched)
    assert (resumed.update, resumed.slot == slot) == (before.update_plan.due[POINTS[0]], False)
    for _ in range(STEPS):
        world.stepper.step([resumed, others[2]])
        if resumed.batches == 0:
            assert resumed.loss == pytest.approx(alone[resumed.update], rel=1e-5)
    for slot_trial in (resumed, *others):
        slot_trial.leave()


def test_diverged_trial_leaves_others_unchanged(world: World, alone: list[float]) -> None:
    watched = world.slot_trial(WATCHED[type(world.objective)])
    broken = world.slot_trial(task(1, alpha=1e38, learning_rate=10.0))
    diverged: dict[int, DivergedError] = {}
    with closing(Stepper(world.pack, world.objective, world.data.tokenizer, threads=2, tokens=200)) as stepper:
        for _ in range(STEPS):
            diverged |= stepper.step([watched] if diverged else [watched, broken])
    assert list(diverged) == [1]
    assert "training loss" in str(diverged[1])
    assert watched.loss == pytest.approx(alone[watched.update], rel=1e-5)
    for slot_trial in (watched, broken):
        slot_trial.leave()


def test_padding_is_at_most_ten_percent() -> None:
    sizes = (4, 8, 16, 32, 16, 8, 4, 16)
    draw = torch.Generator().manual_seed(0)
    lengths = (torch.randn(4000, generator=draw).mul(0.5).add(3.2).exp()).clamp(5, 128).int().tolist()  # like reviews
    orders = [data_order(lengths, size, 40, seed) for seed, size in enumerate(sizes)]
    real = padded = 0
    for update in range(40):
        rows = [[lengths[row] for row in order[update]] for order in orders]
        longest = max(map(max, rows))
        mask = torch.tensor([[int(token < length) for token in range(longest)] for part in rows for length in part])
        layout = batch_layout(mask, {slot: len(part) for slot, part in enumerate(rows)}, len(sizes), torch.float32)
        real, padded = real + sum(map(sum, rows)), padded + layout.num_tokens
    assert padded <= 1.1 * real
