"""A trial does not depend on its neighbours: alone or among others that join, stop and break, it is the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import DivergedError
from orchestrator.core.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.order import data_order
from orchestrator.training.packed.layout import lay_out
from orchestrator.training.packed.seat import Seat
from tests.fakes.tiny_models import tiny_bert, tiny_gpt2, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.training.packed.packs import World, task

UPDATES = 6
WATCHED: dict[type[Objective], TrialTask] = {
    kind: task(0, dropout=0.2, batch_size=5, rank=3, target_modules=targets)
    for kind, targets in ((TinyClassification, "query,value"), (TinyCausal, "c_attn"), (TinySeq2Seq, "k,wo"))
}
"""The trial that is watched: the models have dropout of their own, on attention too, and neighbours adapt more."""

MODELS: dict[str, tuple[Callable[[Path], Path], type[Objective]]] = {
    "bert": (tiny_bert, TinyClassification),
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
    seat = world.seat(WATCHED[type(world.objective)])
    losses = []
    for update in range(UPDATES):
        world.stepper.step([seat])
        losses.append(seat.loss)
        assert seat.update == update + 1
    seat.leave()
    return losses


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[TrialTask, int, int, bool]:
    """A neighbour, the updates between which it trains, and whether it is broken on purpose."""
    chosen = task(
        draw(st.integers(1, 10_000)),
        rank=draw(st.sampled_from([1, 4, 16])),
        batch_size=draw(st.integers(1, 16)),
        accumulation=draw(st.integers(1, 2)),
        dropout=draw(st.sampled_from([0.0, 0.3])),
        learning_rate=draw(st.sampled_from([1e-4, 1e-2])),
        max_length=draw(st.sampled_from([6, 32])),
        label_smoothing=draw(st.sampled_from([0.0, 0.1])),
    )
    joins = draw(st.integers(0, UPDATES - 1))
    return chosen, joins, draw(st.integers(joins + 1, UPDATES)), draw(st.booleans())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    others=st.lists(neighbours(), min_size=1, max_size=7, unique_by=lambda found: found[0].number), first=st.booleans()
)
def test_neighbours_change_nothing(
    world: World, alone: list[float], others: list[tuple[TrialTask, int, int, bool]], first: bool
) -> None:
    seats: dict[int, Seat] = {}
    watched = world.seat(WATCHED[type(world.objective)]) if first else None
    losses: dict[int, float] = {}
    try:
        for update in range(UPDATES):
            for trial, joins, _, broken in others:
                if joins == update:
                    seats[trial.number] = world.seat(trial)
                    if broken:
                        name = next(iter(seats[trial.number].gradients()))
                        world.pack.view(seats[trial.number].slot, name, torch.Size([1, 1])).fill_(float("nan"))
            watched = watched or world.seat(WATCHED[type(world.objective)])
            diverged = world.stepper.step([watched, *seats.values()])
            assert 0 not in diverged
            losses[watched.update] = watched.loss
            for trial, _, leaves, _ in others:
                if trial.number in seats and (trial.number in diverged or leaves == update + 1):
                    world.stepper.forget(seats[trial.number].slot)
                    seats.pop(trial.number).leave()
    finally:
        for seat in [*seats.values(), *([watched] if watched else [])]:
            world.stepper.forget(seat.slot)
            seat.leave()
    assert losses == pytest.approx({update + 1: loss for update, loss in enumerate(alone)}, rel=1e-5)


def test_a_broken_trial_is_told_and_the_others_go_on(world: World, alone: list[float]) -> None:
    watched, broken = world.seat(WATCHED[type(world.objective)]), world.seat(task(1, alpha=1e38, learning_rate=10.0))
    told: dict[int, DivergedError] = {}
    for _ in range(UPDATES):
        told |= world.stepper.step([watched] if told else [watched, broken])
    assert list(told) == [1]
    assert "training loss" in str(told[1])
    assert watched.loss == pytest.approx(alone[watched.update - 1], rel=1e-5)
    for seat in (watched, broken):
        world.stepper.forget(seat.slot)
        seat.leave()


def test_no_more_than_a_tenth_of_the_tokens_is_padding() -> None:
    sizes = (4, 8, 16, 32, 16, 8, 4, 16)
    draw = torch.Generator().manual_seed(0)
    lengths = (torch.randn(4000, generator=draw).mul(0.5).add(3.2).exp()).clamp(5, 128).int().tolist()  # as reviews are
    orders = [data_order(lengths, size, 40, seed) for seed, size in enumerate(sizes)]
    real = padded = 0
    for update in range(40):
        rows = [[lengths[row] for row in order[update]] for order in orders]
        longest = max(map(max, rows))
        mask = torch.tensor([[int(token < length) for token in range(longest)] for part in rows for length in part])
        layout = lay_out(mask, {slot: len(part) for slot, part in enumerate(rows)}, len(sizes), torch.float32)
        real, padded = real + sum(map(sum, rows)), padded + layout.num_tokens
    assert padded <= 1.1 * real
