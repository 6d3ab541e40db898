"""How far a step trains each trial, and that it makes no difference to any."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import POINTS, World, task


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tiny_bert(tmp_path / "model"), TinyClassification(), tmp_path / "sweep")


@pytest.fixture
def step(world: World) -> Iterator[Callable[[int, list[SlotTrial]], None]]:
    with closing(world.stepper):

        def run(tokens: int, seats: list[SlotTrial]) -> None:
            pack, tokenizer = world.pack, world.data.tokenizer
            with closing(Stepper(pack, world.objective, tokenizer, 2, tokens)) as stepper:
                assert not stepper.step(seats)

        yield run


def test_a_step_is_as_long_for_every_trial_whatever_its_batch(
    world: World, step: Callable[[int, list[SlotTrial]], None]
) -> None:
    seats = [
        world.seat(task(0, batch_size=16)),
        world.seat(task(1, batch_size=4, accumulation=2)),
        world.seat(task(2, batch_size=1)),
        world.seat(task(3, batch_size=50)),
    ]
    step(300, seats)
    for seat in seats:
        most = 300 + seat.task.settings.batch_size * 32  # the last batch may go beyond
        assert 300 <= seat.tokens_trained < most


def test_a_step_ends_where_the_first_reports(world: World, step: Callable[[int, list[SlotTrial]], None]) -> None:
    ahead, behind = world.seat(task(0, batch_size=8)), world.seat(task(1, batch_size=4))
    step(1000, [ahead])
    trained = ahead.tokens_trained
    step(1_000_000, [ahead, behind])
    assert ahead.update == ahead.update_plan.due[POINTS[0]]
    trained = ahead.tokens_trained - trained
    assert trained <= behind.tokens_trained < trained + 4 * 32
    step(1_000_000, [ahead])
    assert ahead.update == ahead.update_plan.due[POINTS[1]]


def test_a_step_may_end_inside_an_update(world: World, step: Callable[[int, list[SlotTrial]], None]) -> None:
    seat = world.seat(task(0, batch_size=8, accumulation=4))
    step(sum(seat.coming(1_000_000)[:6]), [seat])
    assert (seat.update, seat.batches) == (1, 2)
    step(sum(seat.coming(1_000_000)[:6]), [seat])
    assert (seat.update, seat.batches) == (3, 0)


def test_one_thread_waits_for_nobody_and_takes_one_batch(world: World) -> None:
    seats = [world.seat(task(number, batch_size=8)) for number in range(2)]
    with closing(world.stepper), closing(Stepper(world.pack, world.objective, world.data.tokenizer, threads=1)) as one:
        assert not one.step(seats)
    assert [seat.update for seat in seats] == [1, 1]


def test_long_steps_train_as_short_ones_do(world: World, step: Callable[[int, list[SlotTrial]], None]) -> None:
    settings = {"dropout": 0.2, "batch_size": 5, "accumulation": 2}
    short, long = world.seat(task(0, seed=1, **settings)), world.seat(task(1, seed=1, **settings))
    others = [world.seat(task(number, batch_size=number)) for number in (2, 9)]
    for _ in range(16):
        world.stepper.step([short])
    step(short.tokens_trained, [long, *others])
    assert short.update == long.update == 8
    assert long.loss == pytest.approx(short.loss, rel=1e-5)
