"""Out of memory, the number of slot_trials is halved for good, and idle trials give theirs up to those that train."""

from pathlib import Path
from typing import cast

import pytest

from orchestrator.training.checkpoints.trial_folder import SLOT_STATE, TrialFolder
from orchestrator.training.packed.engine import PackedEngine
from orchestrator.training.packed.headroom import Headroom
from orchestrator.training.packed.run import PackedRun
from orchestrator.training.solo.engine import SoloRun
from tests.training.packed.packs import task

NO_MEMORY = MemoryError()


def run(number: int) -> PackedRun:
    return PackedRun(cast(PackedEngine, None), task(number), TrialFolder(Path("nowhere"), number, SLOT_STATE))


RUNS = [run(number) for number in range(8)]


def test_until_memory_runs_out_everyone_has_a_seat() -> None:
    headroom = Headroom()
    assert headroom.admitted(dict.fromkeys(RUNS, 1), []) == dict.fromkeys(RUNS, 1)
    assert headroom.surplus(range(8), RUNS[:1]) == []


def test_the_number_is_halved_and_never_rises() -> None:
    headroom = Headroom()
    assert headroom.shrink(NO_MEMORY, 4)
    assert headroom.shrink(NO_MEMORY, 8)
    assert len(headroom.admitted(dict.fromkeys(RUNS, 1), [])) == 2


@pytest.mark.parametrize(("error", "trials"), [(NO_MEMORY, 1), (RuntimeError("a shape is wrong"), 8)])
def test_one_alone_and_other_errors_are_not_helped(error: Exception, trials: int) -> None:
    headroom = Headroom()
    assert not headroom.shrink(error, trials)
    assert len(headroom.admitted(dict.fromkeys(RUNS, 1), [])) == 8


def test_those_with_a_seat_come_first_and_solo_trials_take_none() -> None:
    headroom = Headroom()
    headroom.shrink(NO_MEMORY, 4)
    solo = run(8)
    solo.alone = cast(SoloRun, object())
    assert [*headroom.admitted(dict.fromkeys([*RUNS, solo], 1), [5, 6])] == [RUNS[5], RUNS[6], solo]


def test_an_idle_trial_gives_up_its_seat_to_one_that_trains() -> None:
    headroom = Headroom()
    headroom.shrink(NO_MEMORY, 8)
    assert headroom.surplus([0, 1, 2, 3], [RUNS[4], RUNS[5]]) == [0, 1]
    assert headroom.surplus([0, 1, 4, 5], [RUNS[4], RUNS[5]]) == []
