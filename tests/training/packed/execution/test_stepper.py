"""The length of a step for each trial, which does not change the training."""

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

        def run(tokens: int, slot_trials: list[SlotTrial]) -> None:
            pack, tokenizer = world.pack, world.data.tokenizer
            with closing(Stepper(pack, world.objective, tokenizer, 2, tokens)) as stepper:
                assert not stepper.step(slot_trials)

        yield run


def test_step_trains_all_trials_on_equal_tokens(world: World, step: Callable[[int, list[SlotTrial]], None]) -> None:
    slot_trials = [
        world.slot_trial(task(0, batch_size=16)),
        world.slot_trial(task(1, batch_size=4, accumulation=2)),
        world.slot_trial(task(2, batch_size=1)),
        world.slot_trial(task(3, batch_size=50)),
    ]
    step(300, slot_trials)
    for slot_trial in slot_trials:
        most = 300 + slot_trial.task.settings.batch_size * 32  # the last batch may go beyond
        assert 300 <= slot_trial.tokens_trained < most


def test_step_ends_at_first_report(world: World, step: Callable[[int, list[SlotTrial]], None]) -> None:
    ahead, behind = world.slot_trial(task(0, batch_size=8)), world.slot_trial(task(1, batch_size=4))
    step(1000, [ahead])
    trained = ahead.tokens_trained
    step(1_000_000, [ahead, behind])
    assert ahead.update == ahead.update_plan.due[POINTS[0]]
    trained = ahead.tokens_trained - trained
    assert trained <= behind.tokens_trained < trained + 4 * 32
    step(1_000_000, [ahead])
    assert ahead.update == ahead.update_plan.due[POINTS[1]]


def test_step_may_end_inside_an_update(world: World, step: Callable[[int, list[SlotTrial]], None]) -> None:
    slot_trial = world.slot_trial(task(0, batch_size=8, accumulation=4))
    step(sum(slot_trial.upcoming_tokens(1_000_000)[:6]), [slot_trial])
    assert (slot_trial.update, slot_trial.batches) == (1, 2)
    step(sum(slot_trial.upcoming_tokens(1_000_000)[:6]), [slot_trial])
    assert (slot_trial.update, slot_trial.batches) == (3, 0)


def test_one_thread_takes_one_batch_per_step(world: World) -> None:
    slot_trials = [world.slot_trial(task(number, batch_size=8)) for number in range(2)]
    with closing(world.stepper), closing(Stepper(world.pack, world.objective, world.data.tokenizer, threads=1)) as one:
        assert not one.step(slot_trials)
    assert [slot_trial.update for slot_trial in slot_trials] == [1, 1]


def test_step_length_does_not_change_training(world: World, step: Callable[[int, list[SlotTrial]], None]) -> None:
    settings = {"dropout": 0.2, "batch_size": 5, "accumulation": 2}
    short, long = world.slot_trial(task(0, seed=1, **settings)), world.slot_trial(task(1, seed=1, **settings))
    others = [world.slot_trial(task(number, batch_size=number)) for number in (2, 9)]
    for _ in range(16):
        world.stepper.step([short])
    step(short.tokens_trained, [long, *others])
    assert short.update == long.update == 8
    assert long.loss == pytest.approx(short.loss, rel=1e-5)
