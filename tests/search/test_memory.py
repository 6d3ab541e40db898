"""What TPE sees of a long sweep holds whom it would call good of all, and no more than so many others."""

import random

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.search.memory import BEST, NEWEST, Memory, remembered

MEANT = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def trial(draw: random.Random) -> FrozenTrial:
    """Return a trial of any state, with a value that others have too."""
    state = draw.choice([TrialState.COMPLETE, *[TrialState.PRUNED] * 3, TrialState.FAIL, TrialState.RUNNING])
    values = {step: draw.choice([float("nan"), *range(40)]) for step in range(1, draw.randint(1, 4))}
    return create_trial(
        state=state,
        value=float(draw.randrange(40)) if state is TrialState.COMPLETE else None,
        params={"x": draw.random()},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values=values,
    )


def study_of(trials: int, direction: str, seed: int = 0) -> tuple[Study, Memory]:
    study = optuna.create_study(direction=direction)
    memory = Memory(study.direction)
    draw = random.Random(seed)
    for _ in range(trials):
        study.add_trial(trial(draw))
    ended = [each for each in study.get_trials() if each.state.is_finished()]
    draw.shuffle(ended)  # trials end in any order
    for each in ended:
        memory.note(each)
    return study, memory


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [each.number for each in trials]


def test_as_many_as_tpe_ever_calls_good() -> None:
    assert max(map(default_gamma, range(10_000))) == BEST


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("trials", [30, 900])
def test_the_good_ones_are_those_of_the_whole_study(direction: str, trials: int) -> None:
    study, memory = study_of(trials, direction)
    every = study._get_trials(states=MEANT)
    seen = remembered(study, memory.best)._get_trials(states=MEANT)
    good, _ = _split_trials(study, seen, BEST)
    assert numbers(good) == numbers(_split_trials(study, every, BEST)[0])
    assert numbers(seen)[-NEWEST:] == numbers(every)[-NEWEST:]
    assert len(seen) <= NEWEST + BEST


def test_a_study_that_is_not_long_is_seen_whole_and_as_it_is() -> None:
    study, memory = study_of(NEWEST, "minimize")
    seen = remembered(study, memory.best)
    assert numbers(seen._get_trials()) == list(range(NEWEST))
    assert (seen.direction, seen.study_name) == (study.direction, study.study_name)
