"""How far a step trains each trial, and that it makes no difference to any."""

from pathlib import Path

import pytest

from orchestrator.training.packed.stepping import Stepper
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import POINTS, World, task


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tiny_bert(tmp_path / "model"), TinyClassification(), tmp_path / "sweep")


def stepper(world: World, rows: int) -> Stepper:
    return Stepper(world.pack, world.objective, world.data.tokenizer, threads=2, rows=rows)


def test_a_step_shows_every_trial_as_many_rows_whatever_its_batch(world: World) -> None:
    seats = [
        world.seat(task(0, batch_size=16)),
        world.seat(task(1, batch_size=4, accumulation=2)),
        world.seat(task(2, batch_size=12)),  # five batches and a third
        world.seat(task(3, batch_size=100)),
    ]
    stepper(world, 64).step(seats)
    assert [seat.update * seat.task.settings.rows_per_update for seat in seats] == [64, 64, 72, 100]


def test_a_step_ends_where_a_trial_reports(world: World) -> None:
    seats = [world.seat(task(0, batch_size=8)), world.seat(task(1, batch_size=7))]
    one = stepper(world, 1000)
    for point in POINTS:
        one.step(seats)
        assert [seat.update for seat in seats] == [seat.course.due[point] for seat in seats]


def test_a_step_may_end_inside_an_update(world: World) -> None:
    seat = world.seat(task(0, batch_size=8, accumulation=4))
    one = stepper(world, 48)
    one.step([seat])
    assert (seat.update, seat.batches) == (1, 2)
    one.step([seat])
    assert (seat.update, seat.batches) == (3, 0)


def test_long_steps_train_as_short_ones_do(world: World) -> None:
    settings = {"dropout": 0.2, "batch_size": 5}
    short, long = world.seat(task(0, seed=1, **settings)), world.seat(task(1, seed=1, **settings))
    others = [world.seat(task(number, batch_size=number)) for number in (2, 9)]
    for _ in range(8):
        world.stepper.step([short])
    stepper(world, 40).step([long, *others])
    assert short.update == long.update == 8
    assert long.loss == pytest.approx(short.loss, rel=1e-5)
